//! The launches of ops, and what is refused before the first one runs.

use std::collections::BTreeMap;
use tile_base::{DType, FileId};
use tile_graph::Program;
use tile_host::{Buffer, Given, Launch, Machine, Outcome, Region};
use tile_sema::{Instance, Module};
use tile_tensor::{Argument, Arguments, Scalar, Tensor};

const KERNELS: &str = "
    kernel double(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i] * 2; } }
    kernel scale(x: in f32[N], by: f32, o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i] * by; } }
    kernel join(a: in f32[N], b: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = a[i] + b[i]; } }
";

/// The op `f(x: in f32[N], by: f32, o: out f32[N])` with a body.
fn program(body: &str) -> Program {
    let text = format!("{KERNELS} op f(x: in f32[N], by: f32, o: out f32[N]) {{ {body} }}");
    let parsed = tile_syntax::parse(FileId(0), &text);
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    let module = Module::new(vec![("main".into(), parsed.file)], 0);
    let typed =
        tile_sema::instantiate_op(&module, "f", &Instance::default()).unwrap_or_else(|d| panic!("{d:#?}"));
    tile_lower::lower_op(&typed).unwrap_or_else(|d| panic!("{d:#?}"))
}

/// Writes down what it is asked for.
struct Record<'a> {
    program: &'a Program,
    lines: Vec<String>,
}

impl Record<'_> {
    fn region(&self, region: &Region) -> String {
        let name = match region.buffer {
            Buffer::Param(at) => self.program.signature.params[at].name(),
            Buffer::Temp(at) => &self.program.temps[at].name,
        };
        let cuts = region.cuts.iter().map(|c| match c.kept {
            true => format!("{}..{}", c.lo, c.hi),
            false => c.lo.to_string(),
        });
        format!("{name}[{}]", cuts.collect::<Vec<_>>().join(", "))
    }
}

impl Machine for Record<'_> {
    fn tile(&self, name: &str) -> Outcome<Option<i64>> {
        Ok((name == "B").then_some(4))
    }

    fn temporary(&mut self, at: usize, shape: &[usize]) -> Outcome<()> {
        self.lines.push(format!("temp {}{shape:?}", self.program.temps[at].name));
        Ok(())
    }

    fn launch(&mut self, launch: Launch) -> Outcome<()> {
        let given = launch.given.iter().map(|given| match given {
            Given::Tensor(region) => self.region(region),
            Given::Scalar(s) => s.to_f64().to_string(),
            Given::Absent => "-".into(),
        });
        let given = given.collect::<Vec<_>>().join(", ");
        let kernel = &self.program.graphs[launch.graph].signature.kernel;
        self.lines.push(format!("{kernel}({given}) N = {}", launch.dims[0]));
        Ok(())
    }
}

/// What a body comes to with x and o of N elements; or the code and the message it is refused with.
fn walked(body: &str, n: usize) -> Result<Vec<String>, String> {
    let program = program(body);
    let tensor = || Argument::Tensor(Tensor::zeros(DType::F32, &[n]));
    let arguments = Arguments(vec![tensor(), Argument::Scalar(Scalar::Float(0.5)), tensor()]);
    let mut record = Record { program: &program, lines: vec![] };
    let whole = tile_host::whole(&program, &arguments);
    match tile_host::run(&program, &whole, &[n as i64], &mut record) {
        Ok(()) => Ok(record.lines),
        Err(found) => Err(format!("{}: {}", found[0].code, found[0].message)),
    }
}

#[test]
fn loops_of_launches_over_rows_of_a_temporary() {
    let body = "
        temp z: f32[3, N];
        run double(x, z[0]);
        for l in 1..3 { run scale(z[l - 1], by, z[l]); }
        if N > 4 { run join(z[2], z[0], o); } else { run double(z[2], o); }";
    let lines = walked(body, 5).expect("it walks");
    let want = [
        "temp z[3, 5]",
        "double(x[0..5], z[0, 0..5]) N = 5",
        "scale(z[0, 0..5], 0.5, z[1, 0..5]) N = 5",
        "scale(z[1, 0..5], 0.5, z[2, 0..5]) N = 5",
        "join(z[2, 0..5], z[0, 0..5], o[0..5]) N = 5",
    ];
    assert_eq!(lines, want);
    assert_eq!(
        walked(body, 4).expect("it walks").last().map(String::as_str),
        Some("double(z[2, 0..4], o[0..4]) N = 4")
    );
}

#[test]
fn integers_are_named_and_parts_are_cut() {
    let body = "
        let half = N / 2;
        run double(x[0..half], o[0..half]);
        run double(x[half..N], o[half..N]);";
    assert_eq!(
        walked(body, 5).expect("it walks"),
        ["double(x[0..2], o[0..2]) N = 2", "double(x[2..5], o[2..5]) N = 3"]
    );
}

#[test]
fn what_is_wrong_is_refused_with_its_name() {
    let cases: BTreeMap<&str, &str> = BTreeMap::from([
        (
            "temp z: f32[N - 9]; run double(z, o);",
            "T0705: an extent of the temporary `z` is N - 9 = -4, which is negative",
        ),
        ("run double(x[0..N + 1], o);", "T0705: the part 0..6 of `x` lies outside of its dimension 0..5"),
        ("let m = N / (N - 5); run double(x[0..m], o);", "T0705: a host integer of `f` has no value"),
        ("run double(x[0..2], o);", "T0708: the launch of `double`"),
        (
            "temp z: f32[N]; run double(x, z); run double(z[0..3], z[2..5]);",
            "T0707: the launch of `double` is given parts of `z` that overlap",
        ),
    ]);
    for (body, want) in cases {
        let said = walked(body, 5).expect_err(body);
        assert!(said.starts_with(want), "{said}\n{want}");
    }
}
