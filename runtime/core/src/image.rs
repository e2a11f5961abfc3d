//! A launch as bytes: what a driver needs to call a kernel, whichever driver it is.
//!
//! `docs/abi.md` says in which order a kernel takes its parameters. [`LaunchImage`] writes them down with holes where
//! device addresses go, because addresses are known only after the driver has placed the buffers:
//!
//! ```text
//! kernel scale(x: in f32[M], y: out f32[M], s: f32)      x of shape [5], stored from element 2 on; s = 0.5
//!
//! byte   0        8        16       24       32       40
//!        x + 8    1        y        1        M = 5    0.5
//!        ─────── pointer   ─────── pointer
//! buffers: x (28 bytes, copied to the device), y (20 bytes, copied there and back)
//! ```
//!
//! The simulator and the CUDA driver both go through these steps: place each buffer, fill the holes
//! ([`LaunchImage::parameters`]), clear what starts at zero ([`BufferImage::cleared`]), launch, and copy back what was
//! written. Nothing here depends on either; [`crate::Sequence`] says which launches share buffers.
//!
//! A buffer is the tensor's whole storage, so that a view (a slice, a transposed matrix) reaches the device with the
//! strides it has.
//!
//! Tensor maps stand behind the other parameters, 128 bytes each at multiples of 64. They hold addresses in an encoding
//! that belongs to the driver, so that the driver's own function makes them once addresses are known; that they can be
//! made is checked when the image is ([`LaunchImage::with_maps`]).

use std::ops::Range;
use tile_base::{
    DType, Diagnostic, Mode, Signature,
    signature::{ParamKind, TensorParam},
};
use tile_machine::tensor_map::{Template, TensorMap, TensorMapError, bytes};
use tile_tensor::{Argument, Arguments, Scalar, Tensor, convert};

/// How many threads, and how they are grouped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// CTAs of a cluster; all 1 for a launch without clusters.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
}

/// The storage of one tensor argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BufferImage {
    /// Position among the signature's parameters.
    pub param: usize,
    pub name: String,
    /// Bytes that are set to zero before the launch: the elements of a `sum` tensor.
    pub cleared: Vec<Range<usize>>,
}

/// A place in the parameter bytes that an address goes into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Hole {
    at: usize,
    buffer: usize,
    /// Of the element at coordinate 0, in bytes from the start of the buffer.
    offset: u64,
}

/// A tensor map among the parameters; its address is that of the tensor's element at coordinate 0.
#[derive(Clone, PartialEq, Eq, Debug)]
struct MapHole {
    hole: Hole,
    template: Template,
    shape: Vec<u64>,
    strides: Vec<i64>,
}

/// An encoded tensor map.
pub type MapBytes = [u8; bytes::BYTES];

/// One launch, complete but for the addresses of its buffers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaunchImage {
    pub entry: String,
    pub geometry: Geometry,
    pub buffers: Vec<BufferImage>,
    bytes: Vec<u8>,
    /// Where each parameter begins.
    starts: Vec<usize>,
    holes: Vec<Hole>,
    maps: Vec<MapHole>,
}

impl LaunchImage {
    /// Writes down the arguments of a launch. They have been checked by [`tile_tensor::launch::bind`], which also
    /// gave `dims`, in the order of the signature.
    pub fn new(
        entry: &str,
        signature: &Signature,
        arguments: &Arguments,
        dims: &[i64],
        geometry: Geometry,
    ) -> Result<LaunchImage, Vec<Diagnostic>> {
        let mut image = LaunchImage {
            entry: entry.to_string(),
            geometry,
            buffers: vec![],
            bytes: vec![],
            starts: vec![],
            holes: vec![],
            maps: vec![],
        };
        let pairs = || signature.params.iter().zip(arguments.iter()).enumerate();
        for (param, pair) in pairs() {
            if let (ParamKind::Tensor(p), Argument::Tensor(t)) = pair {
                image.tensor(param, p, t)?;
            }
        }
        for dim in dims {
            image.push(&dim.to_le_bytes());
        }
        for (_, pair) in pairs() {
            if let (ParamKind::Scalar(p), Argument::Scalar(s)) = pair {
                image.push(&scalar_bytes(*s, p.dtype));
            }
        }
        Ok(image)
    }

    fn tensor(&mut self, param: usize, p: &TensorParam, t: &Tensor) -> Result<(), Vec<Diagnostic>> {
        let bits = t.offset() as u64 * t.dtype.bits() as u64;
        if !bits.is_multiple_of(8) {
            let message =
                format!("`{}` starts in the middle of a byte ({} of {})", p.name, t.offset(), t.dtype);
            return Err(vec![
                Diagnostic::global("T0829", message).help("pass a copy that starts at its own byte"),
            ]);
        }
        let at = self.push(&[0; 8]);
        self.holes.push(Hole { at, buffer: self.buffers.len(), offset: bits / 8 });
        for stride in &t.strides {
            self.push(&stride.to_le_bytes());
        }
        let cleared = if p.mode == Mode::Sum { bytes_of_elements(t) } else { vec![] };
        self.buffers.push(BufferImage { param, name: p.name.clone(), cleared });
        Ok(())
    }

    /// Appends the tensor maps that a kernel takes, each of the tensor argument with that position. T0875 where a tensor
    /// cannot be described by its map.
    pub fn with_maps<'a>(
        mut self,
        maps: impl IntoIterator<Item = (usize, &'a Template)>,
        arguments: &Arguments,
    ) -> Result<LaunchImage, Vec<Diagnostic>> {
        for (param, template) in maps {
            let found = self.buffers.iter().position(|b| b.param == param);
            let (Some(buffer), Some(t)) = (found, arguments.0.get(param).and_then(Argument::tensor)) else {
                return Err(vec![no_map(&self.entry, "the tensor is not given")]);
            };
            let name = format!("{} of {}", self.buffers[buffer].name, self.entry);
            // Whole bytes: the pointer parameter of the same tensor was made.
            let offset = (t.offset() * t.dtype.bits() / 8) as u64;
            let shape: Vec<u64> = t.shape.iter().map(|&n| n as u64).collect();
            // Buffers begin at multiples of 256 bytes on every device, so that the address is aligned as the offset is.
            template.of(&shape, &t.strides, offset).map_err(|e| vec![no_map(&name, &e.to_string())])?;
            let at = self.push_aligned(&[0; bytes::BYTES], bytes::ALIGN);
            let hole = Hole { at, buffer, offset };
            self.maps.push(MapHole { hole, template: template.clone(), shape, strides: t.strides.clone() });
        }
        Ok(self)
    }

    /// Appends a parameter at its natural alignment; where it begins.
    fn push(&mut self, bytes: &[u8]) -> usize {
        self.push_aligned(bytes, bytes.len())
    }

    fn push_aligned(&mut self, bytes: &[u8], align: usize) -> usize {
        let at = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(at, 0);
        self.starts.push(at);
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// Where each parameter begins in the parameter bytes.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The parameter bytes, given the address of each buffer and the driver's way to encode a tensor map.
    ///
    /// # Panics
    /// When there are fewer addresses than buffers.
    pub fn parameters<E: From<TensorMapError>>(
        &self,
        addresses: &[u64],
        mut encode: impl FnMut(&TensorMap) -> Result<MapBytes, E>,
    ) -> Result<Vec<u8>, E> {
        let mut out = self.bytes.clone();
        let address = |hole: &Hole| addresses[hole.buffer] + hole.offset;
        for hole in &self.holes {
            out[hole.at..hole.at + 8].copy_from_slice(&address(hole).to_le_bytes());
        }
        for MapHole { hole, template, shape, strides } in &self.maps {
            let encoded = encode(&template.of(shape, strides, address(hole))?)?;
            out[hole.at..hole.at + encoded.len()].copy_from_slice(&encoded);
        }
        Ok(out)
    }
}

/// As the simulator, and the driver that runs on it, have tensor maps.
pub fn simulated(map: &TensorMap) -> Result<MapBytes, TensorMapError> {
    Ok(map.encode())
}

fn no_map(name: &str, why: &str) -> Diagnostic {
    Diagnostic::global("T0875", format!("there is no tensor map for `{name}`: {why}"))
        .help("tensor maps need a base and strides in multiples of 16 bytes, and elements side by side")
}

/// Where the elements of a tensor lie in its storage; neighbours joined. Elements are whole bytes: the language has no
/// sums of smaller ones.
fn bytes_of_elements(t: &Tensor) -> Vec<Range<usize>> {
    let bytes = t.dtype.bits().div_ceil(8);
    let mut out: Vec<Range<usize>> = vec![];
    for position in t.positions() {
        let (from, to) = (position * bytes, (position + 1) * bytes);
        match out.last_mut() {
            Some(last) if last.end == from => last.end = to,
            _ => out.push(from..to),
        }
    }
    out
}

/// A scalar in its own type, little end first.
fn scalar_bytes(s: Scalar, dtype: DType) -> Vec<u8> {
    let bits = match s {
        Scalar::Float(v) => convert::encode(dtype, v),
        _ if dtype.is_float() => convert::encode(dtype, s.to_f64()),
        _ => convert::encode_int(dtype, s.to_i64()),
    };
    bits.to_le_bytes()[..dtype.bits().div_ceil(8)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_base::{Size, signature::ScalarParam};
    use tile_machine::{
        Swizzle,
        tensor_map::{ElementType, Fill, L2Promotion},
    };

    fn tensor(name: &str, mode: Mode, dtype: DType, shape: &[&str]) -> ParamKind {
        let shape = shape.iter().map(|n| Size::name(*n)).collect();
        let name = name.to_string();
        ParamKind::Tensor(TensorParam {
            name,
            mode,
            optional: false,
            present: true,
            dtype,
            index: None,
            distinct: false,
            shape,
        })
    }

    fn scalar(name: &str, dtype: DType) -> ParamKind {
        ParamKind::Scalar(ScalarParam { name: name.to_string(), dtype, index: false })
    }

    fn signature(params: Vec<ParamKind>, dims: &[&str]) -> Signature {
        Signature {
            kernel: "k".into(),
            params,
            dims: dims.iter().map(|d| d.to_string()).collect(),
            consts: vec![],
            facts: vec![],
        }
    }

    const ONE: Geometry = Geometry { grid: [1; 3], block: [32, 1, 1], cluster: [1; 3], shared: 0 };

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn a_view_keeps_its_strides_and_its_place() {
        let whole = Tensor::from_f32(&[7], &[0., 1., 2., 3., 4., 5., 6.]);
        let view = whole.view(&[5], &[1], 2).unwrap();
        let s = signature(
            vec![
                tensor("x", Mode::In, DType::F32, &["M"]),
                tensor("y", Mode::Out, DType::F32, &["M"]),
                scalar("s", DType::F32),
            ],
            &["M"],
        );
        let out = Argument::Tensor(Tensor::zeros(DType::F32, &[5]));
        let arguments = Arguments(vec![Argument::Tensor(view), out, Argument::Scalar(Scalar::Float(0.5))]);
        let image = LaunchImage::new("k", &s, &arguments, &[5], ONE).unwrap();
        let bytes = image.parameters(&[0x1000, 0x2000], simulated).unwrap();
        assert_eq!([0, 8, 16, 24, 32].map(|at| word(&bytes, at)), [0x1008, 1, 0x2000, 1, 5]);
        assert_eq!(bytes[40..], 0.5f32.to_le_bytes());
    }

    #[test]
    fn scalars_stand_in_their_own_width_at_their_own_alignment() {
        let s = signature(
            vec![
                scalar("h", DType::F16),
                scalar("b", DType::Bool),
                scalar("i", DType::I32),
                scalar("n", DType::I64),
                scalar("f", DType::F32),
            ],
            &[],
        );
        let arguments = Arguments(vec![
            Argument::Scalar(Scalar::Float(1.5)),
            Argument::Scalar(Scalar::Bool(true)),
            Argument::Scalar(Scalar::Int(-2)),
            Argument::Scalar(Scalar::Int(-3)),
            Argument::Scalar(Scalar::Int(2)),
        ]);
        let image = LaunchImage::new("k", &s, &arguments, &[], ONE).unwrap();
        let bytes = image.parameters(&[], simulated).unwrap();
        assert_eq!(bytes[..3], [0x00, 0x3e, 1], "f16 1.5 is 0x3e00; the bool follows it");
        assert_eq!(bytes[4..8], (-2i32).to_le_bytes());
        assert_eq!(bytes[8..16], (-3i64).to_le_bytes());
        assert_eq!(bytes[16..], 2f32.to_le_bytes());
    }

    #[test]
    fn an_absent_tensor_has_no_parameter() {
        let mut absent = tensor("z", Mode::Out, DType::F32, &["M"]);
        if let ParamKind::Tensor(p) = &mut absent {
            (p.optional, p.present) = (true, false);
        }
        let s = signature(vec![absent, tensor("y", Mode::Out, DType::F32, &["M"])], &["M"]);
        let y = Argument::Tensor(Tensor::zeros(DType::F32, &[2]));
        let image = LaunchImage::new("k", &s, &Arguments(vec![Argument::Absent, y]), &[2], ONE).unwrap();
        assert_eq!((image.buffers.len(), image.buffers[0].param), (1, 1));
        assert_eq!(image.starts(), [0, 8, 16]);
    }

    #[test]
    fn a_tensor_map_follows_the_other_parameters() {
        let s = signature(vec![tensor("x", Mode::In, DType::F16, &["M", "N"])], &["M", "N"]);
        let template = Template {
            element: ElementType::F16,
            order: vec![1, 0],
            box_dims: vec![64, 16],
            swizzle: Swizzle::B128,
            l2_promotion: L2Promotion::B128,
            fill: Fill::Zero,
        };
        let image = |shape: [usize; 2], strides: [i64; 2], offset| {
            let x = Tensor::zeros(DType::F16, &[4096]).view(&shape, &strides, offset).unwrap();
            let arguments = Arguments(vec![Argument::Tensor(x)]);
            let dims = shape.map(|n| n as i64);
            LaunchImage::new("k", &s, &arguments, &dims, ONE).unwrap().with_maps([(0, &template)], &arguments)
        };
        let good = image([5, 50], [56, 1], 8).unwrap();
        assert_eq!(good.starts(), [0, 8, 16, 24, 32, 64]);
        let bytes = good.parameters(&[0x1000], simulated).unwrap();
        let map = TensorMap::decode(bytes[64..].try_into().unwrap()).unwrap();
        assert_eq!((map.address(), map.dims(), map.strides()), (0x1010, &[50, 5][..], &[112][..]));
        for (refused, why) in [
            (image([5, 50], [50, 1], 0), "stride 100 of dimension 0 is not a multiple of 16"),
            (image([5, 50], [56, 1], 4), "global address 0x8 is not a multiple of 16"),
        ] {
            let d = &refused.unwrap_err()[0];
            assert!(d.code == "T0875" && d.message.contains(why), "{}", d.message);
        }
    }

    #[test]
    fn half_a_byte_is_no_address() {
        let nibbles = Tensor::zeros(DType::I4, &[4]).view(&[3], &[1], 1).unwrap();
        let s = signature(vec![tensor("x", Mode::In, DType::I4, &["M"])], &["M"]);
        let refused = LaunchImage::new("k", &s, &Arguments(vec![Argument::Tensor(nibbles)]), &[3], ONE);
        assert_eq!(refused.unwrap_err()[0].code, "T0829");
    }
}
