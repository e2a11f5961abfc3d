//! Binding a launch: dimensions from shapes, and a code for each way to get it wrong.

use std::collections::BTreeMap;
use tile_base::{
    DType, Diagnostic, IndexKind, Mode, ScalarParam, Signature, Size, TensorParam,
    signature::{Fact, ParamKind, Relation},
};
use tile_tensor::{Argument, Arguments, Scalar, Tensor, launch};

fn param(name: &str, mode: Mode, dtype: DType, shape: Vec<Size>) -> TensorParam {
    TensorParam {
        name: name.into(),
        mode,
        optional: false,
        present: true,
        dtype,
        index: None,
        distinct: false,
        shape,
    }
}

fn n(name: &str) -> Size {
    Size::name(name)
}

fn plus_one(name: &str) -> Size {
    Size::Add(n(name).into(), Size::Const(1).into())
}

/// `segment(x: in f32[L, H, 4], cu: in offsets<L>[NS + 1], id: in id?<H>[NS], o: out f32[NS, H], scale: f32)
/// where H % 2 == 0`
fn signature() -> Signature {
    let cu = TensorParam {
        index: Some(IndexKind::Offsets(n("L"))),
        ..param("cu", Mode::In, DType::I32, vec![plus_one("NS")])
    };
    let id = TensorParam {
        index: Some(IndexKind::IdOrNone(n("H"))),
        ..param("id", Mode::In, DType::I32, vec![n("NS")])
    };
    Signature {
        kernel: "segment".into(),
        params: vec![
            ParamKind::Tensor(param("x", Mode::In, DType::F32, vec![n("L"), n("H"), Size::Const(4)])),
            ParamKind::Tensor(cu),
            ParamKind::Tensor(id),
            ParamKind::Tensor(param("o", Mode::Out, DType::F32, vec![n("NS"), n("H")])),
            ParamKind::Scalar(ScalarParam { name: "scale".into(), dtype: DType::F32, index: false }),
        ],
        dims: vec!["L".into(), "H".into(), "NS".into()],
        consts: vec![],
        facts: vec![Fact {
            lhs: Size::Mod(n("H").into(), Size::Const(2).into()),
            op: Relation::Eq,
            rhs: Size::Const(0),
            text: "H % 2 == 0".into(),
        }],
    }
}

fn inputs() -> Arguments {
    Arguments::new(vec![
        Tensor::zeros(DType::F32, &[12, 6, 4]).into(),
        Tensor::from_i32(&[5], &[0, 3, 3, 9, 12]).into(),
        Tensor::from_i32(&[4], &[0, -1, 5, 2]).into(),
        Argument::Absent,
        0.5.into(),
    ])
}

fn launch_with(change: impl FnOnce(&mut Arguments)) -> Result<Vec<i64>, Vec<Diagnostic>> {
    let mut arguments = inputs();
    change(&mut arguments);
    launch::allocate_outputs(&signature(), &mut arguments, &BTreeMap::new())
}

fn codes(result: Result<Vec<i64>, Vec<Diagnostic>>) -> Vec<&'static str> {
    result.expect_err("has to be refused").iter().map(|d| d.code).collect()
}

#[test]
fn dimensions_come_from_shapes_and_from_solving() {
    let mut arguments = inputs();
    let dims = launch::allocate_outputs(&signature(), &mut arguments, &BTreeMap::new()).unwrap();
    assert_eq!(dims, [12, 6, 4]);
    assert_eq!(arguments[3].tensor().unwrap().shape, [4, 6]);
    assert_eq!(launch::bind(&signature(), &arguments).unwrap(), dims);
}

#[test]
fn each_fault_has_its_code() {
    type Change = fn(&mut Arguments);
    let cases: [(&str, Change); 16] = [
        ("T0810", |a| a[0] = Argument::Absent),
        ("T0810", |a| a[4] = Argument::Absent),
        ("T0811", |a| a.0.push(1.0.into())),
        ("T0812", |a| a[0] = Tensor::zeros(DType::F32, &[12, 24]).into()),
        ("T0813", |a| a[0] = Tensor::zeros(DType::F16, &[12, 6, 4]).into()),
        ("T0814", |a| a[2] = Tensor::from_i32(&[3], &[0, 0, 0]).into()),
        ("T0815", |a| a[0] = Tensor::zeros(DType::F32, &[12, 6, 5]).into()),
        ("T0817", |a| a[0] = Tensor::zeros(DType::F32, &[12, 7, 4]).into()),
        ("T0818", |a| a[0] = Tensor::zeros(DType::F32, &[0, 6, 4]).into()),
        ("T0823", |a| a[2] = Tensor::from_i32(&[4], &[0, -2, 5, 2]).into()),
        ("T0823", |a| a[2] = Tensor::from_i32(&[4], &[0, 6, 5, 2]).into()),
        ("T0824", |a| a[1] = Tensor::from_i32(&[5], &[0, 9, 3, 9, 12]).into()),
        ("T0824", |a| a[1] = Tensor::from_i32(&[5], &[1, 3, 3, 9, 12]).into()),
        ("T0824", |a| a[1] = Tensor::from_i32(&[5], &[0, 3, 3, 9, 11]).into()),
        ("T0827", |a| a[4] = true.into()),
        ("T0827", |a| a[0] = 1.0.into()),
    ];
    for (want, change) in cases {
        assert_eq!(codes(launch_with(change)), [want]);
    }
}

#[test]
fn several_faults_are_reported_together() {
    let found = codes(launch_with(|a| {
        a[0] = Tensor::zeros(DType::F16, &[12, 24]).into();
        a[4] = Argument::Absent;
    }));
    assert_eq!(found, ["T0813", "T0812", "T0810"]);
}

#[test]
fn written_tensors_share_nothing() {
    let base = Tensor::zeros(DType::F32, &[400]);
    let o = base.view(&[4, 6], &[6, 1], 0).unwrap();
    let x = base.view(&[12, 6, 4], &[24, 4, 1], 23).unwrap();
    assert_eq!(codes(launch_with(|a| (a[0], a[3]) = (x.into(), o.share().into()))), ["T0821"]);
    let apart = base.view(&[12, 6, 4], &[24, 4, 1], 24).unwrap();
    assert!(launch_with(|a| (a[0], a[3]) = (apart.into(), o.share().into())).is_ok());
    let folded = base.view(&[4, 6], &[0, 1], 0).unwrap();
    assert_eq!(codes(launch_with(|a| a[3] = folded.into())), ["T0822"]);
    // An input may repeat elements.
    let broadcast = base.view(&[12, 6, 4], &[0, 0, 1], 0).unwrap();
    assert!(launch_with(|a| a[0] = broadcast.into()).is_ok());
}

#[test]
fn given_dimensions_are_checked_like_any_other() {
    let given = |v| BTreeMap::from([("H".to_string(), v)]);
    let run = |v| codes(launch::allocate_outputs(&signature(), &mut inputs(), &given(v)));
    assert_eq!(run(8), ["T0814"]);
    assert_eq!(run(0), ["T0818"]);
    assert_eq!(run(1 << 31), ["T0819"]);
}

#[test]
fn sizes_that_overflow_are_refused() {
    let mut s = signature();
    let big = |a: Size, b: Size| Size::Mul(a.into(), b.into());
    let ParamKind::Tensor(o) = &mut s.params[3] else { panic!() };
    o.shape = vec![big(big(n("L"), n("H")), big(n("NS"), Size::Const(1 << 60)))];
    let found = launch::allocate_outputs(&s, &mut inputs(), &BTreeMap::new()).unwrap_err();
    assert_eq!(found[0].code, "T0820");
    let ParamKind::Tensor(o) = &mut s.params[3] else { panic!() };
    o.shape = vec![Size::Const(1 << 50)];
    let found = launch::allocate_outputs(&s, &mut inputs(), &BTreeMap::new()).unwrap_err();
    assert_eq!(found[0].code, "T0828");
}

#[test]
fn names_that_no_parameter_has_are_refused() {
    let named = BTreeMap::from([("xx".to_string(), Argument::Scalar(Scalar::Int(1)))]);
    assert_eq!(Arguments::by_name(&signature(), named).unwrap_err()[0].code, "T0811");
}

#[test]
fn a_dimension_that_nothing_shows_is_named() {
    let mut s = signature();
    s.dims.push("Z".into());
    let found = launch::allocate_outputs(&s, &mut inputs(), &BTreeMap::new()).unwrap_err();
    assert_eq!((found[0].code, found[0].message.contains("`Z`")), ("T0816", true));
}

#[test]
fn absent_in_this_instance_means_absent() {
    let mut s = signature();
    let ParamKind::Tensor(id) = &mut s.params[2] else { panic!() };
    (id.optional, id.present) = (true, false);
    let mut without = inputs();
    without[2] = Argument::Absent;
    assert!(launch::allocate_outputs(&s, &mut without, &BTreeMap::new()).is_ok());
    let found = launch::allocate_outputs(&s, &mut inputs(), &BTreeMap::new()).unwrap_err();
    assert_eq!(found[0].code, "T0826");
}
