//! One kernel with its input and the output it must give.

/// What a kernel needs to exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Target {
    Sm80,
    Sm89,
    Sm90a,
    Sm100a,
}

impl Target {
    pub fn name(self) -> &'static str {
        match self {
            Target::Sm80 => "sm_80",
            Target::Sm89 => "sm_89",
            Target::Sm90a => "sm_90a",
            Target::Sm100a => "sm_100a",
        }
    }

    /// The head of a module for it.
    pub fn header(self) -> String {
        format!(".version 8.8\n.target {}\n.address_size 64\n", self.name())
    }
}

/// How outputs are compared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Tolerance {
    Exact,
    /// f32 outputs, so many units in the last place apart, or within an absolute error.
    Single {
        ulps: u32,
        absolute: f64,
    },
    /// f16 or bf16 in slots, relative error.
    Relative {
        bits: u8,
        error: f64,
    },
}

#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub target: Target,
    /// Declarations at module scope and the entry, which takes the addresses of input and output.
    pub text: String,
    /// Name of the entry, unique among all cases.
    pub entry: String,
    pub blocks: u32,
    pub threads: u32,
    pub input: Vec<u8>,
    /// What the output holds before.
    pub before: Vec<u8>,
    pub expected: Vec<u8>,
    pub tolerance: Tolerance,
}

impl Case {
    /// A case of one block whose body may use the registers that [`prologue`] declares.
    pub fn new(name: &str, target: Target, threads: u32, body: &str) -> Case {
        let entry: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let text = format!(
            ".visible .entry {entry}(.param .u64 in, .param .u64 out) {{\n{}{body}\n    ret;\n}}\n",
            prologue()
        );
        Case {
            name: name.into(),
            target,
            text,
            entry,
            blocks: 1,
            threads,
            input: vec![],
            before: vec![],
            expected: vec![],
            tolerance: Tolerance::Exact,
        }
    }

    pub fn module(mut self, declarations: &str) -> Case {
        self.text = format!("{declarations}\n{}", self.text);
        self
    }

    pub fn input<T: Bytes>(mut self, values: &[T]) -> Case {
        self.input = T::bytes(values);
        self
    }

    pub fn expect<T: Bytes>(mut self, values: &[T]) -> Case {
        self.expected = T::bytes(values);
        if self.before.len() < self.expected.len() {
            self.before = vec![0; self.expected.len()];
        }
        self
    }

    pub fn before<T: Bytes>(mut self, values: &[T]) -> Case {
        self.before = T::bytes(values);
        self
    }

    pub fn within(mut self, tolerance: Tolerance) -> Case {
        self.tolerance = tolerance;
        self
    }
}

/// `%in`, `%out`: the addresses; `%t`: the number of the thread in the grid; scratch of every kind.
fn prologue() -> &'static str {
    "    .reg .b64 %in, %out, %x<40>; .reg .b32 %t, %r<200>; .reg .b16 %h<40>; .reg .pred %p<20>; .reg .f32 %f<60>;
    .reg .f64 %g<40>;
    ld.param.u64 %in, [in]; ld.param.u64 %out, [out];
    { .reg .b32 a, b; mov.u32 a, %ctaid.x; mov.u32 b, %ntid.x; mov.u32 %t, %tid.x; mad.lo.u32 %t, a, b, %t; }
"
}

/// Values as the bytes a device sees.
pub trait Bytes: Sized {
    fn bytes(values: &[Self]) -> Vec<u8>;
}

macro_rules! bytes {
    ($($t:ty),*) => {$(
        impl Bytes for $t {
            fn bytes(values: &[Self]) -> Vec<u8> {
                values.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
        }
    )*};
}
bytes!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, u128);
