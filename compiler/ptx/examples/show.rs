//! Prints a box of a sample kernel: `show SAMPLE DTYPE TARGET [plan|mlir|llvm|ptx|time|ptxas]`.

use tile_base::DType;
use tile_graph::samples;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let word = |n: usize, or: &'static str| args.get(n).cloned().unwrap_or(or.to_string());
    let dtype = DType::from_name(&word(2, "f16")).expect("a dtype");
    let sample = word(1, "add");
    let number = |prefix: &str| sample.strip_prefix(prefix).and_then(|n| n.parse::<u64>().ok());
    let graph = match sample.as_str() {
        "add" => samples::add(dtype),
        "matmul" => samples::matmul(dtype),
        s if s.starts_with("softmax") => samples::softmax(dtype, number("softmax").unwrap_or(1000)),
        s if s.starts_with("causal") => samples::flash(dtype, number("causal").unwrap_or(64), true),
        _ => samples::flash(dtype, number("flash").unwrap_or(64), false),
    };
    let target = tile_target::find(&word(3, "sm_80")).expect("a target");
    let request = tile_plan::Request { strided: word(5, "") == "strided", ..Default::default() };
    let plan = tile_plan::plan(&graph, target, &request).unwrap_or_else(|e| panic!("{e:#?}"));
    let what = word(4, "ptxas");
    if what == "plan" {
        return print!("{}", tile_plan::print(&graph, &plan));
    }
    let options = tile_ptx::Options { llvm: what == "llvm", ..Default::default() };
    if what == "emit" {
        return print!(
            "{}",
            tile_ptx::emit::emit(&graph, &plan, None).unwrap_or_else(|e| panic!("{e:#?}")).text
        );
    }
    let module = tile_ptx::compile(&graph, &plan, &options).unwrap_or_else(|e| panic!("{e:#?}"));
    match what.as_str() {
        "mlir" => print!("{}", module.mlir),
        "llvm" => print!("{}", module.llvm.unwrap_or_default()),
        "ptx" => print!("{}", module.ptx),
        "time" => println!("{:#?} {} operations", module.stages, module.operations),
        _ => {
            let ptxas = tile_ptx::ptxas::find().expect("ptxas");
            let used =
                tile_ptx::ptxas::assemble(&ptxas, &module.ptx, target).unwrap_or_else(|e| panic!("{e}"));
            println!("{used:?} dynamic shared {} estimate {}", plan.shared_bytes(), plan.registers);
            println!("{:?}", module.stages);
        }
    }
}
