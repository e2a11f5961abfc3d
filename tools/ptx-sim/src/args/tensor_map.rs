//! `tmap:BUFFER[+OFF]:DTYPE:dims:strides:box:elemstrides:swizzle:fill`: a tensor map by value.
//!
//! Lists are separated by commas, innermost dimension first; strides are in bytes and one fewer (none for one
//! dimension); empty element strides are ones. Swizzle: `none`, `32`, `64`, `128`; fill: `zero` or `nan`.

use tile_machine::{
    Swizzle, TensorMap,
    tensor_map::{ElementType, Fill, Spec},
};

const TYPES: [(&str, ElementType); 16] = [
    ("u8", ElementType::U8),
    ("i8", ElementType::U8),
    ("u16", ElementType::U16),
    ("i16", ElementType::U16),
    ("u32", ElementType::U32),
    ("i32", ElementType::S32),
    ("u64", ElementType::U64),
    ("i64", ElementType::S64),
    ("f16", ElementType::F16),
    ("f32", ElementType::F32),
    ("f64", ElementType::F64),
    ("bf16", ElementType::Bf16),
    ("f32.ftz", ElementType::F32Ftz),
    ("tf32", ElementType::Tf32),
    ("tf32.ftz", ElementType::Tf32Ftz),
    ("f8", ElementType::U8),
];

pub fn encode(text: &str, address: &dyn Fn(&str) -> Result<u64, String>) -> Result<Vec<u8>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [buffer, dtype, dims, strides, box_dims, steps, swizzle, fill] = parts[..] else {
        return Err("expected tmap:BUFFER:DTYPE:dims:strides:box:elemstrides:swizzle:fill".into());
    };
    let element = TYPES.iter().find(|(name, _)| *name == dtype).map(|(_, e)| *e);
    let dims = list(dims)?;
    let swizzle = match swizzle {
        "none" | "0" => Swizzle::None,
        "32" => Swizzle::B32,
        "64" => Swizzle::B64,
        "128" => Swizzle::B128,
        other => return Err(format!("`{other}` is no swizzle: none, 32, 64, 128")),
    };
    let fill = match fill {
        "zero" => Fill::Zero,
        "nan" => Fill::Nan,
        other => return Err(format!("`{other}` is no fill: zero, nan")),
    };
    let steps = if steps.is_empty() { vec![1; dims.len()] } else { small(steps)? };
    let map = TensorMap::new(Spec {
        address: address(buffer)?,
        dims: &dims,
        strides: &list(strides)?,
        box_dims: &small(box_dims)?,
        element_strides: &steps,
        swizzle,
        fill,
        ..Spec::new(element.ok_or_else(|| format!("unknown dtype `{dtype}`"))?)
    });
    Ok(map.map_err(|e| e.to_string())?.encode().to_vec())
}

fn list(text: &str) -> Result<Vec<u64>, String> {
    if text.is_empty() {
        return Ok(vec![]);
    }
    text.split(',').map(|n| n.parse().map_err(|_| format!("`{n}` is not a number"))).collect()
}

fn small(text: &str) -> Result<Vec<u32>, String> {
    list(text)?.into_iter().map(|n| u32::try_from(n).map_err(|_| format!("{n} is too large"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_map() {
        let at = |buffer: &str| if buffer == "a+16" { Ok(0x1010) } else { Err("no".to_string()) };
        let map = encode("a+16:bf16:64,100:128:32,16:1,2:64:nan", &at).unwrap();
        let map = TensorMap::decode(&map.try_into().unwrap()).unwrap();
        assert_eq!((map.address(), map.dims(), map.strides()), (0x1010, &[64, 100][..], &[128][..]));
        assert_eq!((map.swizzle(), map.fill(), map.count(1)), (Swizzle::B64, Fill::Nan, 8));
        let flat = encode("a+16:f32:10::4::none:zero", &at).unwrap();
        assert_eq!(TensorMap::decode(&flat.try_into().unwrap()).unwrap().rank(), 1);
        for wrong in [
            "a+16:bf16:64:32",
            "b:f32:10::4::none:zero",
            "a+16:f33:10::4::none:zero",
            "a+16:f32:10::3::none:zero",
            "a+16:f32:10::4::16:zero",
            "a+16:f32:x::4::none:zero",
            "a+16:i32:10::4::none:nan",
        ] {
            assert!(encode(wrong, &at).is_err(), "{wrong}");
        }
    }
}
