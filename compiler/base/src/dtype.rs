//! Element types.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The dtypes of the language. Sub-byte elements lie low bits first along the unit axis.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    F64,
    F32,
    /// f32 storage whose significand is rounded to 10 bits when a tensor core reads it.
    Tf32,
    F16,
    Bf16,
    F8e4m3,
    F8e5m2,
    F4e2m1,
    I64,
    I32,
    I16,
    I8,
    U8,
    I4,
    U4,
    I2,
    Bool,
}

use DType::*;

impl DType {
    pub const ALL: [DType; 17] =
        [F64, F32, Tf32, F16, Bf16, F8e4m3, F8e5m2, F4e2m1, I64, I32, I16, I8, U8, I4, U4, I2, Bool];

    /// The keyword of the language.
    pub fn name(self) -> &'static str {
        match self {
            F64 => "f64",
            F32 => "f32",
            Tf32 => "tf32",
            F16 => "f16",
            Bf16 => "bf16",
            F8e4m3 => "f8e4m3",
            F8e5m2 => "f8e5m2",
            F4e2m1 => "f4e2m1",
            I64 => "i64",
            I32 => "i32",
            I16 => "i16",
            I8 => "i8",
            U8 => "u8",
            I4 => "i4",
            U4 => "u4",
            I2 => "i2",
            Bool => "bool",
        }
    }

    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Bits of one stored element (a bool takes a byte).
    pub fn bits(self) -> usize {
        match self {
            F64 | I64 => 64,
            F32 | Tf32 | I32 => 32,
            F16 | Bf16 | I16 => 16,
            F8e4m3 | F8e5m2 | I8 | U8 | Bool => 8,
            F4e2m1 | I4 | U4 => 4,
            I2 => 2,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, F64 | F32 | Tf32 | F16 | Bf16 | F8e4m3 | F8e5m2 | F4e2m1)
    }

    pub fn is_int(self) -> bool {
        matches!(self, I64 | I32 | I16 | I8 | U8 | I4 | U4 | I2)
    }

    pub fn is_signed(self) -> bool {
        matches!(self, I64 | I32 | I16 | I8 | I4 | I2)
    }

    /// Least and greatest value of an integer type.
    pub fn int_range(self) -> Option<(i64, i64)> {
        match self {
            I64 => Some((i64::MIN, i64::MAX)),
            I32 => Some((i32::MIN as i64, i32::MAX as i64)),
            I16 => Some((i16::MIN as i64, i16::MAX as i64)),
            I8 => Some((-128, 127)),
            U8 => Some((0, 255)),
            I4 => Some((-8, 7)),
            U4 => Some((0, 15)),
            I2 => Some((-2, 1)),
            _ => None,
        }
    }

    /// The dtype in which `@` accumulates operands of this one (language rule 7).
    pub fn accumulator(self) -> Option<DType> {
        match self {
            F16 | Bf16 | F8e4m3 | F8e5m2 | F4e2m1 | Tf32 | F32 => Some(F32),
            F64 => Some(F64),
            I8 | U8 | I4 | U4 | I2 => Some(I32),
            I16 | I32 | I64 | Bool => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
