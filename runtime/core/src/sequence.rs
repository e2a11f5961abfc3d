//! Launches in order over one set of buffers: what an op comes to on a device.
//!
//! Host code of an op never reads device data, so all its launches are known before the first one runs. A [`Sequence`]
//! lists the buffers (one for each tensor argument, one for each temporary) and the launches, each with the buffers that
//! its pointers point into:
//!
//! ```text
//! op both(x: in f32[M], y: out f32[M]) { temp t: f32[M]; run twice(x, t); run twice(t, y); }
//!
//! buffers    0: x, copied from the argument      1: y, copied and fetched      2: t, poison
//! launches   twice [0, 2]      twice [2, 1]
//! ```
//!
//! A temporary begins with every bit set: NaN in every float format, -1 in every integer, so that what is read before it
//! is written shows. The elements of a launch's `sum` tensors are cleared right before that launch; what lies between
//! them is left alone.

use crate::{LaunchImage, MapBytes};
use std::borrow::Cow;
use tile_base::{Signature, signature::ParamKind};
use tile_machine::tensor_map::{TensorMap, TensorMapError};
use tile_tensor::{Argument, Arguments};

/// The byte that temporaries are filled with.
const POISON: u8 = 0xff;

/// Whose memory a buffer is, by position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    Param(usize),
    Temp(usize),
}

/// Memory that lives as long as the sequence runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storage {
    pub owner: Owner,
    pub name: String,
    pub bytes: usize,
    /// Whether the caller wants it back.
    pub fetched: bool,
}

/// One launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Which of the modules has its code.
    pub module: usize,
    pub image: LaunchImage,
    /// Of each buffer of the image, its storage.
    storages: Vec<usize>,
}

/// Launches in order, complete but for addresses.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub name: String,
    pub storages: Vec<Storage>,
    pub launches: Vec<Launch>,
}

impl Sequence {
    /// No launches yet, and the storages of the tensor arguments.
    pub fn new(signature: &Signature, arguments: &Arguments) -> Sequence {
        let pairs = signature.params.iter().zip(arguments.iter()).enumerate();
        let storage = |(at, pair): (usize, (&ParamKind, &Argument))| match pair {
            (ParamKind::Tensor(p), Argument::Tensor(t)) => Some(Storage {
                owner: Owner::Param(at),
                name: p.name.clone(),
                bytes: t.bytes().len(),
                fetched: p.mode.writes(),
            }),
            _ => None,
        };
        let storages = pairs.filter_map(storage).collect();
        Sequence { name: signature.kernel.clone(), storages, launches: vec![] }
    }

    /// One launch on the arguments of its own signature.
    pub fn single(signature: &Signature, arguments: &Arguments, image: LaunchImage) -> Sequence {
        let mut sequence = Sequence::new(signature, arguments);
        let storages = (0..sequence.storages.len()).collect();
        sequence.launches.push(Launch { module: 0, image, storages });
        sequence
    }

    /// Room for a temporary.
    pub fn temporary(&mut self, at: usize, name: &str, bytes: usize) {
        self.storages.push(Storage { owner: Owner::Temp(at), name: name.into(), bytes, fetched: false });
    }

    /// Appends a launch. `owners` says for each parameter of the launch whose memory it points into; false, and nothing
    /// is appended, when that has no storage here.
    pub fn push(&mut self, module: usize, image: LaunchImage, owners: &[Option<Owner>]) -> bool {
        let storage = |param: usize| {
            let owner = owners.get(param).copied().flatten()?;
            self.storages.iter().position(|s| s.owner == owner)
        };
        let storages: Option<Vec<usize>> = image.buffers.iter().map(|b| storage(b.param)).collect();
        let Some(storages) = storages else { return false };
        self.launches.push(Launch { module, image, storages });
        true
    }

    /// Puts what a storage holds after the launches into its argument.
    pub fn store(&self, storage: &Storage, bytes: &[u8], arguments: &mut Arguments) {
        let Owner::Param(at) = storage.owner else { return };
        if let Some(t) = arguments.0.get_mut(at).and_then(Argument::tensor_mut) {
            let own = t.bytes_mut();
            let common = own.len().min(bytes.len());
            own[..common].copy_from_slice(&bytes[..common]);
        }
    }
}

impl Storage {
    /// What it holds before the first launch.
    pub fn contents<'a>(&self, arguments: &'a Arguments) -> Cow<'a, [u8]> {
        let given = match self.owner {
            Owner::Param(at) => arguments.0.get(at).and_then(Argument::tensor),
            Owner::Temp(_) => None,
        };
        match given {
            Some(t) => Cow::Borrowed(t.bytes()),
            None => Cow::Owned(vec![POISON; self.bytes]),
        }
    }
}

impl Launch {
    /// Address and bytes of every range that is set to zero before the launch.
    ///
    /// # Panics
    /// When there are fewer addresses than storages of the sequence.
    pub fn cleared<'a>(&'a self, addresses: &'a [u64]) -> impl Iterator<Item = (u64, usize)> + 'a {
        self.image.buffers.iter().zip(&self.storages).flat_map(move |(buffer, &storage)| {
            let address = addresses[storage];
            buffer.cleared.iter().map(move |r| (address + r.start as u64, r.len()))
        })
    }

    /// The parameter bytes, given the address of each storage of the sequence and the driver's way to encode a tensor map.
    ///
    /// # Panics
    /// When there are fewer addresses than storages of the sequence.
    pub fn parameters<E: From<TensorMapError>>(
        &self,
        addresses: &[u64],
        encode: impl FnMut(&TensorMap) -> Result<MapBytes, E>,
    ) -> Result<Vec<u8>, E> {
        let own: Vec<u64> = self.storages.iter().map(|&s| addresses[s]).collect();
        self.image.parameters(&own, encode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;
    use tile_base::{DType, Mode, Size, signature::TensorParam};
    use tile_tensor::Tensor;

    fn signature(params: &[(&str, Mode)]) -> Signature {
        let tensor = |&(name, mode): &(&str, Mode)| {
            ParamKind::Tensor(TensorParam {
                name: name.into(),
                mode,
                optional: false,
                present: true,
                dtype: DType::F32,
                index: None,
                distinct: false,
                shape: vec![Size::name("M")],
            })
        };
        let params = params.iter().map(tensor).collect();
        Signature { kernel: "k".into(), params, dims: vec!["M".into()], consts: vec![], facts: vec![] }
    }

    fn tensor(values: &[f32]) -> Argument {
        Argument::Tensor(Tensor::from_f32(&[values.len()], values))
    }

    fn image(s: &Signature, arguments: &Arguments) -> LaunchImage {
        let geometry = Geometry { grid: [1; 3], block: [32, 1, 1], cluster: [1; 3], shared: 0 };
        LaunchImage::new("k", s, arguments, &[2], geometry).unwrap()
    }

    #[test]
    fn launches_point_into_storages_of_the_whole_sequence() {
        let (op, twice) = (
            signature(&[("x", Mode::In), ("y", Mode::Out)]),
            signature(&[("a", Mode::In), ("b", Mode::Out)]),
        );
        let mut arguments = Arguments(vec![tensor(&[1., 2.]), tensor(&[0., 0.])]);
        let mut sequence = Sequence::new(&op, &arguments);
        sequence.temporary(0, "t", 8);
        let (x, y, t) = (Some(Owner::Param(0)), Some(Owner::Param(1)), Some(Owner::Temp(0)));
        assert!(sequence.push(0, image(&twice, &arguments), &[x, t]));
        assert!(sequence.push(0, image(&twice, &arguments), &[t, y]));
        assert!(!sequence.push(0, image(&twice, &arguments), &[Some(Owner::Temp(1)), y]));
        let pointers = |launch: &Launch| {
            let bytes = launch.parameters(&[0x100, 0x200, 0x300], crate::simulated).unwrap();
            [0, 16].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()))
        };
        let found: Vec<[u64; 2]> = sequence.launches.iter().map(pointers).collect();
        assert_eq!(found, [[0x100, 0x300], [0x300, 0x200]]);
        assert_eq!(*sequence.storages[2].contents(&arguments), [0xff; 8], "a temporary is poison");
        let fetched: Vec<bool> = sequence.storages.iter().map(|s| s.fetched).collect();
        assert_eq!(fetched, [false, true, false]);
        sequence.store(&sequence.storages[1], &1f32.to_le_bytes().repeat(2), &mut arguments);
        assert_eq!(arguments[1].tensor().unwrap().to_f64_vec(), [1., 1.]);
    }

    #[test]
    fn only_the_elements_of_a_sum_tensor_are_cleared() {
        let s = signature(&[("s", Mode::Sum)]);
        let spread = Tensor::from_f32(&[4], &[9.; 4]).view(&[2], &[2], 0).unwrap();
        for (argument, expected) in
            [(Argument::Tensor(spread), vec![(0x100, 4), (0x108, 4)]), (tensor(&[9., 9.]), vec![(0x100, 8)])]
        {
            let arguments = Arguments(vec![argument]);
            let sequence = Sequence::single(&s, &arguments, image(&s, &arguments));
            assert_eq!(sequence.launches[0].cleared(&[0x100]).collect::<Vec<_>>(), expected);
        }
    }
}
