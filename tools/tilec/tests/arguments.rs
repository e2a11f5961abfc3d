//! What a person may give a kernel, and what is refused by its name: functions by path, consts that facts determine,
//! positions that must not repeat, scalars of type `index`, packed files, kernels of the built-in library.

mod common;

use common::{Folder, tilec};
use serde_json::Value;
use tile_base::DType;
use tile_tensor::{Tensor, read_npy, write_npy};

const MODS: &str = "run attention::flash_mods --random 1 --const T=f32 --const D=8 --const DV=8 --dim B=1 --dim M=9 --dim N=9 --dim HQ=2 --dim HK=1";

/// Where a launch is refused alike.
const DEVICES: &[&str] = if cfg!(feature = "ptx") { &["cpu", "oracle", "sim"] } else { &["cpu", "oracle"] };

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn ids(folder: &Folder, name: &str, values: &[f64]) {
    let t = Tensor::try_from_f64(DType::I32, &[values.len()], values).unwrap();
    write_npy(&folder.path(name), &t).unwrap();
}

#[test]
fn a_function_is_named_by_its_path() {
    let folder = Folder::new();
    folder.write(
        "mine.tile",
        "fn banded(b: index, h: index, i: index, j: index) -> bool { j <= i && i < j + 3 }\n",
    );
    // A library kernel that imports no mask, with one of the library and one of the working folder.
    folder.write(
        "none.tile",
        "kernel keep<mask: fn(b, h, i, j: index) -> bool = all>(x: in f32[M], y: out f32[M]) {
    tile B;
    par i in tiles(M, B) { y[i] = select(mask(0, 0, 3, i.at), x[i], 0); }
}
",
    );
    let sum = |mask: &str| {
        let mut args = words("run none.tile --random 3 --dim M=8 --json --device oracle --const");
        let mask = format!("mask={mask}");
        args.push(&mask);
        json(&folder.run(&args).good())["outputs"]["y"]["mean"].as_f64().unwrap()
    };
    let (all, causal, banded) = (sum("all"), sum("attention::masks::causal"), sum("mine::banded"));
    assert!(all != causal && causal != banded && banded != all, "{all} {causal} {banded}");
    folder.run(&words(&format!("{MODS} --const mask=mine::banded"))).good();
}

#[test]
fn a_function_that_is_not_there_is_answered_with_one_that_is() {
    let folder = Folder::new();
    folder.write(
        "one.tile",
        "kernel one<mask: fn(b, h, i, j: index) -> bool = all>(x: in f32[M], y: out f32[M]) {
    par i in M { y[i] = select(mask(0, 0, i, 0), x[i], 0); }
}
",
    );
    for (given, help) in [
        ("window", "--const mask=attention::masks::window"),
        ("windw", "did you mean `--const mask=attention::masks::window`"),
        ("attention::masks::windw", "did you mean `--const mask=attention::masks::window`"),
        ("attention::mask::window", "did you mean `--const mask=attention::masks::window`"),
        ("attention::masks::thickness", "`attention::masks` has causal, window"),
        ("nowhere::at_all", "there is no module `nowhere`"),
        ("something_else", "by its path"),
    ] {
        let text = folder
            .run(&["run", "one.tile", "--random", "1", "--dim", "M=4", "--const", &format!("mask={given}")])
            .refused("T0200");
        let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain.contains(help), "{given}: {text}");
    }
}

#[test]
fn a_const_follows_from_a_fact() {
    let run =
        |more: &str| tilec(&words(&format!("run attention::decode --random 1 --const T=f32 --json {more}")));
    let done = json(&run("--dim HQ=6 --dim HK=2").good());
    assert_eq!(done["consts"]["GR"], "3");
    assert!(done["taken"].get("GR").is_none(), "{done:#}");
    let odd = json(&run("--dim HQ=7 --dim HK=2").stdout);
    assert_eq!(odd["diagnostics"][0]["code"], "T0817");
    assert!(odd["diagnostics"][0]["message"].as_str().unwrap().contains("`GR`"), "{odd:#}");
    // HK and GR come from the first case, and a refusal says so.
    let out = run("--dim HQ=12");
    assert_eq!(out.status, 1);
    let refused = json(&out.stdout);
    assert_eq!(refused["taken"]["GR"], "4");
    let notes = refused["diagnostics"][0]["notes"].to_string();
    assert!(notes.contains("GR = 4 was taken from the first case of `test decode`"), "{notes}");
}

#[test]
fn positions_of_a_unique_store_may_not_repeat() {
    let folder = Folder::new();
    ids(&folder, "twice.npy", &[1.0, 1.0]);
    for device in DEVICES {
        for kernel in ["rope::kv_append", "linear::conv1d_update", "linear::gated_delta_decode"] {
            let rows = if kernel == "rope::kv_append" { "L=2" } else { "B=2" };
            let line = format!(
                "run {kernel} --random 1 --device {device} --in slot=twice.npy --dim {rows} --dim NS=5"
            );
            let text = folder.run(&words(&line)).refused("T0848");
            assert!(text.contains("`slot`[1] is 1, as is `slot`[0]"), "{text}");
        }
    }
    // Drawn without repetition, as long as there is room.
    let full = "run rope::kv_append --random 1 --device oracle --dim L=16 --dim NS";
    folder.run(&words(&format!("{full}=16"))).good();
    folder.run(&words(&format!("{full}=15"))).refused("T0848");
}

#[test]
fn what_a_function_reads_outside_of_its_tensor_is_refused() {
    let folder = Folder::new();
    ids(&folder, "short.npy", &[0.0, 0.0, 0.0, 1.0, 1.0]);
    ids(&folder, "long.npy", &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    for device in DEVICES {
        let run = |doc: &str| {
            let line = format!("{MODS} --device {device} --const mask=document --in mask.doc={doc}.npy");
            folder.run(&words(&line))
        };
        run("long").good();
        let text = run("short").refused(if *device == "oracle" { "T0450" } else { "T0710" });
        assert!(text.contains("`mask.doc`"), "{text}");
    }
}

#[test]
fn a_scalar_of_type_index_is_in_the_range_of_dimensions() {
    let run = |device: &str, width: &str| {
        let line = format!(
            "run attention::flash_window --random 1 --const T=f32 --const D=8 --dim B=1 --dim M=4 --dim N=4 --dim HQ=2 --dim HK=1 --json --device {device} --arg width={width}"
        );
        let out = tilec(&words(&line));
        (out.status, json(&out.stdout))
    };
    let mut means = vec![];
    for device in DEVICES {
        for (width, why) in [
            ("2147483648", "2147483648 is not in -2^31 to 2^31 - 1"),
            ("9223372036854775807", "is not in -2^31"),
            ("-2147483649", "is not in -2^31"),
            ("2.5", "`width` is of type index, and 2.5 is no value of it"),
        ] {
            let (status, told) = run(device, width);
            let d = &told["diagnostics"][0];
            assert_eq!((status, d["code"].as_str()), (1, Some("T0827")), "{device} {width}");
            assert!(d["message"].as_str().unwrap().contains(why), "{device}: {d:#}");
        }
        let (status, told) = run(device, "2147483647");
        assert_eq!(status, 0);
        means.push(told["outputs"]["o"]["mean"].as_f64().unwrap());
    }
    assert!(means.iter().all(|m| (m - means[0]).abs() < 1e-6 && *m != 0.0), "{means:?}");
}

#[test]
fn other_arguments_say_how_much_of_a_packed_byte_counts() {
    // K = 5 weights in 3 bytes a row, cdiv(5, 2) = 3 zero points in 2.
    let folder = Folder::new();
    let npy = |name: &str, dtype, shape: &[usize], values: &[f64]| {
        write_npy(&folder.path(name), &Tensor::try_from_f64(dtype, shape, values).unwrap()).unwrap();
    };
    npy("a.npy", DType::F32, &[1, 5], &[1.0; 5]);
    npy("w.npy", DType::U8, &[1, 3], &[33.0, 67.0, 5.0]);
    npy("zero.npy", DType::U8, &[1, 2], &[33.0, 3.0]);
    npy("scale.npy", DType::F32, &[1, 3], &[1.0, 10.0, 100.0]);
    for device in DEVICES {
        let line = format!(
            "run gemm::w4a16 --device {device} --const GS=2 --in a=a.npy --in w=w.npy --in scale=scale.npy --in zero=zero.npy --out c=c.npy"
        );
        folder.run(&words(&line)).good();
        // w = 1 2 | 3 4 | 5, zero = 1 | 2 | 3
        let c = read_npy(&folder.path("c.npy")).unwrap().to_f64_vec();
        assert_eq!(c, [1.0 + 30.0 + 200.0], "{device}");
    }
}

#[test]
fn the_built_in_library_is_reached_by_module_paths() {
    let folder = Folder::new();
    for line in [
        "run attention::flash_fwd --random 1 --device oracle",
        "build attention::flash_fwd --emit graph",
        "graph attention::flash_fwd --dot",
        "check attention::flash_fwd",
        "test softmax::softmax --rung oracle",
    ] {
        folder.run(&words(line)).good();
    }
    // A file of that name comes first; a name that is none is answered with one.
    folder
        .write("norm::rmsnorm", "kernel own(x: in f32[M], y: out f32[M]) { par i in M { y[i] = x[i]; } }\n");
    let own = folder.run(&words("build norm::rmsnorm --dim M=4 --emit graph")).good();
    assert!(own.contains("own"), "{own}");
    for asked in ["flash_fwd", "attention/flash_fwd.tile", "attention::flash_fw"] {
        let text = folder.run(&["run", asked, "--random", "1"]).refused("T0800");
        assert!(text.contains("attention::flash_fwd`"), "{asked}: {text}");
    }
}

#[test]
fn a_step_that_is_none_is_named() {
    let text = tilec(&words("build gemm::w4a16 --const GS=0 --const T=f32 --emit graph")).refused("T0212");
    assert!(text.contains("the step `GS` is 0"), "{text}");
}
