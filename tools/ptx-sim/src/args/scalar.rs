//! Scalars: `i32:-7`, `u64:0xffff`, `bf16:1.5`, `bytes:DEADBEEF`. Integers may be given as the number or as its bits:
//! `i8:255` is −1.

use tile_base::DType;
use tile_tensor::convert;

pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    if digits.len() != text.len() || digits.len() % 2 == 1 {
        return Err("expected pairs of hexadecimal digits".into());
    }
    Ok(digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
}

pub fn number(kind: &str, text: &str) -> Result<Vec<u8>, String> {
    let float = || text.parse::<f64>().map_err(|_| format!("`{text}` is not a {kind}"));
    let short = |dtype| float().map(|v| (convert::encode(dtype, v) as u16).to_le_bytes().to_vec());
    match kind {
        "i8" | "u8" => int(kind, text, 1),
        "i16" | "u16" => int(kind, text, 2),
        "i32" | "u32" => int(kind, text, 4),
        "i64" | "u64" => int(kind, text, 8),
        "f32" => Ok((float()? as f32).to_le_bytes().to_vec()),
        "f64" => Ok(float()?.to_le_bytes().to_vec()),
        "f16" => short(DType::F16),
        "bf16" => short(DType::Bf16),
        _ => Err(format!("unknown kind `{kind}`")),
    }
}

fn int(kind: &str, text: &str, bytes: usize) -> Result<Vec<u8>, String> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let bits = 8 * bytes as u32;
    let range = -(1i128 << (bits - 1))..1i128 << bits;
    let value =
        value.ok().filter(|v| range.contains(v)).ok_or_else(|| format!("`{text}` is not a {kind}"))?;
    Ok(value.to_le_bytes()[..bytes].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_at_its_edges() {
        assert_eq!(number("i8", "-1"), Ok(vec![0xff]));
        assert_eq!(number("u8", "255"), Ok(vec![0xff]));
        assert!(number("u8", "256").is_err());
        assert_eq!(number("u16", "0xBEEF"), Ok(vec![0xef, 0xbe]));
        assert_eq!(number("i64", "-9223372036854775808"), Ok(i64::MIN.to_le_bytes().to_vec()));
        assert_eq!(number("bf16", "1"), Ok(vec![0x80, 0x3f]));
        assert_eq!(number("f16", "-inf"), Ok(vec![0x00, 0xfc]));
        assert_eq!(number("f64", "0.5"), Ok(0.5f64.to_le_bytes().to_vec()));
        assert!(number("i32", "1.5").is_err() && number("f128", "1").is_err());
        assert_eq!(hex("0aFF"), Ok(vec![10, 255]));
        assert!(hex("abc").is_err() && hex("zz").is_err());
    }
}
