//! Tensor files: what is written comes back, and every kind of damage has its own code.

use proptest::prelude::*;
use tile_base::DType;
use tile_tensor::{
    Tensor, files, parse_npy, parse_safetensors, read_npy, read_tensor, write_npy, write_tensor,
};

/// A `.npy` of version 1 with any header and any bytes after it.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn header(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn code(result: Result<Tensor, tile_base::Diagnostic>) -> &'static str {
    result.map_or_else(|d| d.code, |t| panic!("read a tensor of shape {:?}", t.shape))
}

#[test]
fn npy_comes_back_for_every_dtype_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.npy");
    let path = path.to_str().unwrap();
    for dtype in
        [DType::F64, DType::F32, DType::F16, DType::I64, DType::I32, DType::I16, DType::I8, DType::U8]
    {
        let t = Tensor::from_f64(dtype, &[2, 3], &[0., 1., 2., 3., 4., 5.]).transposed();
        write_npy(path, &t).unwrap();
        let back = read_npy(path).unwrap();
        assert_eq!((back.dtype, &back.shape, back.to_f64_vec()), (dtype, &t.shape, t.to_f64_vec()));
    }
    assert_eq!(write_npy(path, &Tensor::zeros(DType::Bf16, &[1])).unwrap_err().code, "T0847");
}

#[test]
fn safetensors_come_back_for_every_dtype() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    let path = path.to_str().unwrap();
    for dtype in DType::ALL {
        let values: Vec<f64> = (0..8).map(|i| (i % 2) as f64).collect();
        let t = Tensor::from_f64(dtype, &[2, 4], &values);
        write_tensor(&format!("{path}#x"), "o", &t).unwrap();
        let mut back = read_tensor(&format!("{path}#x")).unwrap();
        if matches!(dtype, DType::I4 | DType::U4 | DType::I2) {
            back = back.unpacked(dtype).unwrap();
        }
        assert_eq!((&back.shape, back.to_f64_vec()), (&t.shape, t.to_f64_vec()), "{dtype}");
    }
    assert_eq!(code(read_tensor(&format!("{path}#y"))), "T0843");
}

#[test]
fn several_tensors_need_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.safetensors");
    let path = path.to_str().unwrap();
    let (a, b) = (Tensor::from_f32(&[2], &[1., 2.]), Tensor::from_i32(&[1], &[7]));
    files::write_safetensors(path, &[("a", &a), ("b", &b)]).unwrap();
    assert_eq!(code(read_tensor(path)), "T0844");
    assert_eq!(read_tensor(&format!("{path}#b")).unwrap().to_i64_vec(), [7]);
    assert_eq!(files::read_safetensors_all(path).unwrap().len(), 2);
    assert_eq!(code(read_tensor("x.pt")), "T0845");
    assert_eq!(code(read_tensor("/nowhere/x.npy")), "T0830");
    assert_eq!(code(read_tensor(dir.path().join("none.npy").to_str().unwrap())), "T0830");
}

#[test]
fn fortran_order_is_a_view() {
    let data: Vec<u8> = [1f32, 2., 3., 4., 5., 6.].iter().flat_map(|v| v.to_le_bytes()).collect();
    let t = parse_npy(&npy(&header("<f4", "True", "(2, 3)"), &data)).unwrap();
    assert_eq!((t.strides.as_slice(), t.to_f64_vec()), (&[1, 2][..], vec![1., 3., 5., 2., 4., 6.]));
}

#[test]
fn each_fault_of_npy_has_its_code() {
    let data = [0u8; 24];
    let good = header("<f4", "False", "(2, 3)");
    assert!(parse_npy(&npy(&good, &data)).is_ok());
    for (bytes, want) in [
        (b"PK\x03\x04 not npy".to_vec(), "T0831"),
        (vec![], "T0831"),
        (b"\x93NUMPY\x09\x00\x00\x00\x00\x00".to_vec(), "T0831"),
        (b"\x93NUMPY\x01\x00\xff\xff{}".to_vec(), "T0832"),
        (npy("nonsense", &data), "T0832"),
        (npy("{'descr': '<f4', 'shape': (2, 3)}", &data), "T0832"),
        (npy(&header("<f4", "Maybe", "(2, 3)"), &data), "T0832"),
        (npy(&header("<f4", "False", "(-1, 3)"), &data), "T0832"),
        (npy(&header("|O", "False", "(2, 3)"), &data), "T0833"),
        (npy(&header(">f4", "False", "(2, 3)"), &data), "T0834"),
        (npy(&good, &data[..23]), "T0835"),
        (npy(&header("<f4", "False", "(1000000000, 1000)"), &data), "T0835"),
        (npy(&good, &[0; 25]), "T0836"),
        (npy(&header("<f4", "False", "(4294967296, 4294967296, 4)"), &data), "T0837"),
        (npy(&header("<f4", "False", "(99999999999999999999999,)"), &data), "T0832"),
        (npy(&header("<c8", "False", "(3,)"), &data), "T0838"),
        (npy(&header("<u4", "False", "(6,)"), &data), "T0838"),
        (npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", &data), "T0838"),
    ] {
        assert_eq!(code(parse_npy(&bytes)), want, "{:?}", String::from_utf8_lossy(&bytes));
    }
}

/// A `.safetensors` with any header and any bytes after it.
fn safe(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn each_fault_of_safetensors_has_its_code() {
    let info = |dtype: &str, shape: &str, lo: usize, hi: usize| {
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{lo},{hi}]}}}}"#)
    };
    assert!(parse_safetensors(&safe(&info("F32", "[2]", 0, 8), &[0; 8]), None).is_ok());
    for (bytes, want) in [
        (vec![1, 2, 3], "T0840"),
        (u64::MAX.to_le_bytes().to_vec(), "T0840"),
        (safe("{", &[]), "T0840"),
        (safe(r#"{"x": 3}"#, &[]), "T0840"),
        (safe(&info("F99", "[2]", 0, 8), &[0; 8]), "T0840"),
        (safe(&info("F32", "[3]", 0, 8), &[0; 8]), "T0841"),
        (safe(&info("F32", "[2]", 4, 12), &[0; 12]), "T0841"),
        (safe(&info("F32", "[2]", 8, 0), &[0; 8]), "T0841"),
        (safe(&info("F32", "[2]", 0, 8), &[0; 7]), "T0835"),
        (safe(&info("F32", "[2]", 0, 8), &[0; 9]), "T0836"),
        (safe(&info("F32", "[4294967296,4294967296]", 0, 8), &[0; 8]), "T0837"),
        (safe(&info("C64", "[1]", 0, 8), &[0; 8]), "T0842"),
        (safe("{}", &[]), "T0844"),
    ] {
        assert_eq!(code(parse_safetensors(&bytes, None)), want, "{:?}", String::from_utf8_lossy(&bytes));
    }
}

proptest! {
    /// Damage anywhere gives a tensor or a diagnostic, never a panic.
    #[test]
    fn damaged_files_never_panic(at in 0usize..120, byte: u8, cut in 0usize..200, kind: bool) {
        let mut bytes = match kind {
            true => npy(&header("<f4", "False", "(2, 3)"), &[0; 24]),
            false => safe(r#"{"x":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}"#, &[0; 8]),
        };
        let n = bytes.len();
        bytes[at % n] = byte;
        bytes.truncate(cut.max(1));
        let result = if kind { parse_npy(&bytes) } else { parse_safetensors(&bytes, None) };
        if let Ok(t) = result {
            prop_assert!(t.bytes().len() <= n);
            prop_assert_eq!(t.to_f64_vec().len(), t.len());
        }
    }
}
