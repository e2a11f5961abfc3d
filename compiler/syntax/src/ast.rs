//! The syntax tree of a `.tile` file.
//!
//! The tree holds what was written, in order, with a span on every node; comments are kept beside it
//! ([`File::comments`]) and put back by the formatter. Nothing is resolved here: `f(x)` is a call whether `f` is a
//! function, a reducer or a built-in, `x[i]` a subscript whether `x` is a tensor, a tile or a spec array.

use tile_base::Span;

/// A name and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Ident {
    pub name: String,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct File {
    pub items: Vec<Item>,
    /// Every `//` comment (not the `///` ones, which belong to items), in order of position.
    pub comments: Vec<Comment>,
    /// Where a token or comment has a blank line before it: its start. In order.
    pub blanks: Vec<u32>,
    /// Integer literals that are not plain decimal (`0x1f`, `0b101`, `65_536`): start and spelling. In order.
    pub spellings: Vec<(u32, String)>,
    /// Where the first arm of each spec `if` with an `else` closes (the tree has no span for it). In order.
    pub arms: Vec<u32>,
}

impl File {
    /// A file with nothing in it.
    pub const EMPTY: File =
        File { items: vec![], comments: vec![], blanks: vec![], spellings: vec![], arms: vec![] };
}

#[derive(Clone, PartialEq, Debug)]
pub struct Comment {
    /// Without the slashes, trailing blanks cut.
    pub text: String,
    pub span: Span,
    /// Stands alone on its line (else it follows code).
    pub own_line: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// Lines of `///`, without the slashes.
    pub docs: Vec<String>,
    pub kind: ItemKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum ItemKind {
    Use(Use),
    Kernel(Kernel),
    Fn(Fn),
    Spec(Spec),
    Test(Test),
    Schedule(Schedule),
    Op(HostOp),
    Grad(Grad),
    /// Could not be parsed; a diagnostic says why.
    Broken,
}

/// `use attention::masks::{causal, window};` Without braces: everything public of the file.
#[derive(Clone, PartialEq, Debug)]
pub struct Use {
    pub path: Vec<Ident>,
    pub names: Option<Vec<Ident>>,
}

// ---------------------------------------------------------------- kernels and functions

#[derive(Clone, PartialEq, Debug)]
pub struct Kernel {
    pub name: Ident,
    pub generics: Vec<Generic>,
    pub params: Vec<Param>,
    /// `where HQ % HK == 0, D <= 256`
    pub facts: Vec<Expr>,
    pub body: Block,
}

/// Between `<` and `>` of a declaration.
#[derive(Clone, PartialEq, Debug)]
pub enum Generic {
    /// `T: f16 | bf16 = f16`
    Dtype { name: Ident, choices: Vec<Ident>, default: Option<Ident> },
    /// `const D`, `const CAUSAL: bool = false`, `const W: index in {3, 4} = 4`. Type absent: index.
    Const { name: Ident, ty: Option<Ident>, choices: Vec<Expr>, default: Option<Expr> },
    /// `mask: fn(b, h, i, j: index) -> bool = all`
    Function { name: Ident, ty: FnType, default: Option<Ident> },
}

/// `fn(b, h, i, j: index, x: f32) -> bool`
#[derive(Clone, PartialEq, Debug)]
pub struct FnType {
    pub params: Vec<(Ident, Type)>,
    pub result: Box<Type>,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Param {
    pub name: Ident,
    pub mode: Option<ParamMode>,
    pub ty: Type,
    pub span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    In,
    Out,
    InOut,
    Sum,
}

/// `in`, `out?`, …
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParamMode {
    pub access: Access,
    pub optional: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Type {
    pub kind: TypeKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum TypeKind {
    /// `f32`, `T`, `index`: a scalar (or a dtype parameter).
    Scalar(Ident),
    /// `f32[i, D]`, `T[B, M]`, `id<N>[R]`
    Tile {
        element: Box<Type>,
        axes: Vec<Expr>,
    },
    /// `id<N>`, `id?<N>`, `count<N>`, `offsets<N>`
    Index {
        kind: IndexType,
        bound: Box<Expr>,
    },
    /// `[f32[K, V]; 12]`
    Array {
        element: Box<Type>,
        len: Box<Expr>,
    },
    Tuple(Vec<Type>),
    Function(FnType),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IndexType {
    Id,
    IdOrNone,
    Count,
    Offsets,
}

/// `fn`, or `asm fn` (whose body is then the CPU body).
#[derive(Clone, PartialEq, Debug)]
pub struct Fn {
    pub name: Ident,
    pub generics: Vec<Generic>,
    pub params: Vec<Param>,
    /// `using slopes: in f32[H]`: captured tensors, which become arguments `name.slopes` of the kernel.
    pub using: Vec<Param>,
    pub result: Option<Type>,
    /// The template of an `asm fn exp(x: f32) -> f32 "ex2.approx.f32 $0, $1;" { exp2(x) }`.
    pub asm: Option<String>,
    pub body: Block,
}

// ---------------------------------------------------------------- statements

/// `{ statements; value }`
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    pub value: Option<Box<Expr>>,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Stmt {
    /// `'kv: for …`
    pub label: Option<Ident>,
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum StmtKind {
    /// `tile BM, BN in {64, 128};`
    Tile(Vec<TileDecl>),
    Let {
        pattern: Pattern,
        ty: Option<Type>,
        value: Expr,
    },
    Var {
        name: Ident,
        ty: Option<Type>,
        value: Expr,
    },
    /// `view kb[s in len[b], d in D] = pages[…];`
    View {
        name: Ident,
        axes: Vec<(Ident, Expr)>,
        value: Expr,
    },
    /// `place = value;`, `place += value;`
    Assign {
        place: Expr,
        op: AssignOp,
        value: Expr,
    },
    Par {
        axes: Vec<ParAxis>,
        body: Block,
    },
    For {
        pattern: Pattern,
        range: Expr,
        claims: Vec<Claim>,
        body: Block,
    },
    /// `unroll s in 0..W { … }`
    Unroll {
        name: Ident,
        range: Expr,
        body: Block,
    },
    While {
        condition: Expr,
        body: Block,
    },
    If(If),
    Break,
    Assert {
        condition: Expr,
        message: Option<String>,
    },
    /// `run f<C = C>(a, b);` (in an `op`)
    Run {
        name: Ident,
        generics: Vec<(Ident, Expr)>,
        args: Vec<Arg>,
    },
    /// `temp h: f32[NS, K];` (in an `op`)
    Temp {
        name: Ident,
        ty: Type,
    },
    Expr(Expr),
    Broken,
}

#[derive(Clone, PartialEq, Debug)]
pub struct TileDecl {
    pub name: Ident,
    pub choices: Vec<Expr>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Pattern {
    Name(Ident),
    /// `_`
    Ignore(Span),
    Tuple(Vec<Pattern>, Span),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssignOp {
    Set,
    /// `+=`
    Add,
}

/// `i in tiles(M, BM)`
#[derive(Clone, PartialEq, Debug)]
pub struct ParAxis {
    pub name: Ident,
    pub range: Expr,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Claim {
    Skip(Expr),
    /// `merge f(m, l, acc)`
    Merge {
        function: Ident,
        vars: Vec<Ident>,
        span: Span,
    },
    Affine(Ident),
}

// ---------------------------------------------------------------- expressions

#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    Int(i64),
    /// The text as written, so that formatting does not change it.
    Float(String),
    Bool(bool),
    Inf,
    Nan,
    Str(String),
    Name(String),
    /// `a::b`
    Path(Vec<Ident>),
    Unary {
        op: UnaryOp,
        operand: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        lhs: Box<Expr>,
        rhs: Box<Expr>,
    },
    /// `x[i, :, _, 0..4] else 0`
    Subscript {
        base: Box<Expr>,
        subscripts: Vec<Subscript>,
        otherwise: Option<Box<Expr>>,
    },
    /// `f(a, k = 8)`
    Call {
        function: Box<Expr>,
        args: Vec<Arg>,
    },
    /// `x.sum(1)`
    Method {
        receiver: Box<Expr>,
        name: Ident,
        args: Vec<Arg>,
    },
    /// `x.to(T)`: the one place in an expression where a type stands.
    To {
        value: Box<Expr>,
        ty: Type,
    },
    /// `i.start`, `x.t`, `st.p`
    Field {
        base: Box<Expr>,
        name: Ident,
    },
    /// `lo..hi`
    Range {
        lo: Box<Expr>,
        hi: Box<Expr>,
    },
    Tuple(Vec<Expr>),
    If(Box<If>),
    Block(Box<Block>),
    /// `sum(j, d in lo..hi: expr)`, in specs.
    Reducer {
        name: Ident,
        binders: Vec<(Ident, Option<Expr>)>,
        body: Box<Expr>,
    },
    /// `[a, b, c]`, in tests and schedules.
    List(Vec<Expr>),
    Paren(Box<Expr>),
    Broken,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Subscript {
    /// `:`
    All(Span),
    /// `_`
    New(Span),
    /// An index, a span, a range, an index tile.
    Expr(Expr),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Arg {
    pub name: Option<Ident>,
    pub value: Expr,
}

/// `if c { … } else if d { … } else { … }`; as an expression every arm has a value.
#[derive(Clone, PartialEq, Debug)]
pub struct If {
    pub condition: Expr,
    pub then: Block,
    pub otherwise: Option<Else>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Else {
    Block(Block),
    If(Box<If>, Span),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    Neg,
    Not,
}

/// Loosest first: `||`, `&&`, comparisons (not chained), `|`, `^`, `&`, shifts, `+ -`, `* / % @`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    OrOr,
    AndAnd,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Or,
    Xor,
    And,
    Shl,
    Shr,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    /// `@`
    Dot,
}

// ---------------------------------------------------------------- specs, tests, schedules, ops

/// `spec flash_fwd { … }`
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    pub name: Ident,
    pub stmts: Vec<SpecStmt>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct SpecStmt {
    pub kind: SpecStmtKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum SpecStmtKind {
    /// `let x[b, h, i] = e;` or `o[b, i] = e;` or `S[k, v] += e;`. Subscripts that are fresh names are free
    /// indices; `b in lo..hi` is written `b in lo..hi` there.
    Equation {
        local: bool,
        name: Ident,
        indices: Vec<SpecIndex>,
        op: AssignOp,
        value: Expr,
    },
    /// `for t in lo..hi { … }`: in order; equations inside may refer to their own earlier values.
    For {
        name: Ident,
        range: Expr,
        reverse: bool,
        body: Vec<SpecStmt>,
    },
    If {
        condition: Expr,
        then: Vec<SpecStmt>,
        otherwise: Vec<SpecStmt>,
    },
    Broken,
}

#[derive(Clone, PartialEq, Debug)]
pub enum SpecIndex {
    /// A free index with an optional range (`d in 0..D`), else over the array's own extent.
    Free { name: Ident, range: Option<Expr> },
    /// `:` the whole axis, the value being a slice.
    All(Span),
    /// A computed position, `y[t + 1, k]`.
    At(Expr),
}

/// `test f { B = 2, M in [1, 17]; g = -softplus(randn); o: rel 2e-3; pairs }`. The name of a program that a `grad` makes has a
/// dot in it: `test f.vjp`.
#[derive(Clone, PartialEq, Debug)]
pub struct Test {
    pub name: Ident,
    pub items: Vec<TestItem>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum TestItem {
    /// A dimension, const, dtype or function to one value, or a tensor to a distribution or list. The name of a
    /// captured tensor has a dot in it: `mask.slopes`.
    Set { name: Ident, value: Expr, span: Span },
    /// `M in [1, 17, 333]`
    Each { name: Ident, values: Vec<Expr>, span: Span },
    /// `o: rel 2e-3, abs 1e-5`; `o: exact` has neither.
    Tolerance { name: Ident, relative: Option<Expr>, absolute: Option<Expr>, span: Span },
    /// `pairs`: cover all pairs of values rather than the product.
    Pairs(Span),
    /// `rounded`: compare in the oracle's rounded mode.
    Rounded(Span),
    /// `absent bias, lse;`: optional parameters that are left out.
    Absent { names: Vec<Ident>, span: Span },
}

/// `schedule f for sm_90 where D == 128 { … }`
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    pub name: Ident,
    pub target: Option<Ident>,
    pub guard: Option<Expr>,
    pub items: Vec<ScheduleItem>,
}

/// One of the closed table: `tile BM = 128, BN = 176;`, `stages j 2;`, `roles produce 1 consume 2;`,
/// `require stages j;`. The first word selects the row; the rest is kept as words for `tile-plan` to read.
#[derive(Clone, PartialEq, Debug)]
pub struct ScheduleItem {
    pub keyword: Ident,
    pub words: Vec<ScheduleWord>,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum ScheduleWord {
    /// `j`, `st.p`, `j.full`
    Path(Vec<Ident>),
    Int(i64, Span),
    /// `BM = 128`
    Bind(Ident, Expr),
    /// `rank(expr)`
    Call(Ident, Vec<Expr>),
    /// `,`
    Comma,
}

/// `op f<…>(…) { … }`
#[derive(Clone, PartialEq, Debug)]
pub struct HostOp {
    pub name: Ident,
    pub generics: Vec<Generic>,
    pub params: Vec<Param>,
    pub facts: Vec<Expr>,
    pub body: Block,
}

/// `grad f<dscore: …>(go for o) -> (dq: sum f32 for q, dk for k) { … }`: how the gradients of a kernel or op are computed.
#[derive(Clone, PartialEq, Debug)]
pub struct Grad {
    /// The kernel or op that is differentiated.
    pub name: Ident,
    /// Beside those of the kernel.
    pub generics: Vec<Generic>,
    /// Gradients that come in, each of an output.
    pub seeds: Vec<Gradient>,
    /// Gradients that go out, each of an input.
    pub results: Vec<Gradient>,
    /// Host code, as of an op.
    pub body: Block,
}

/// `dq: sum f32 for q`. Shape and dtype are those of `q` unless a dtype is written.
#[derive(Clone, PartialEq, Debug)]
pub struct Gradient {
    pub name: Ident,
    pub mode: Option<ParamMode>,
    pub element: Option<Ident>,
    /// The tensor that it is the gradient of.
    pub of: Ident,
    pub span: Span,
}
