//! Stride classes from arguments: the widest code that the tensors at hand allow.
//!
//! Example: `x: in f32[M, N]` with M = 5, N = 33, dense. The default code loads rows by 16 bytes, which needs N to be a
//! multiple of 4; 33 is none, so `x` is taken as *unit* (element by element along rows) and planned again. A
//! transposed `x` has its unit stride in dimension 0: vectors along that one. `x[:, ::2]` has no unit stride: *strided*.
//!
//! Each step lowers the class of at least one tensor, vector → unit → strided, and strided code asks for nothing, so
//! the loop ends. A tensor that cannot be described by the tensor map that a plan wants of it is loaded by the threads
//! instead (T0607 says why; an error where the schedule requires the map), once and for all.

use tile_base::Diagnostic;
use tile_graph::Graph;
use tile_machine::tensor_map::Template;
use tile_plan::{Plan, Request, Requirement, TensorClass, access};
use tile_target::Target;
use tile_tensor::{Argument, Arguments, Tensor};

/// A plan whose requirements these arguments meet, and the tensors for which it is not the default code.
pub fn plan(
    graph: &Graph,
    target: &'static Target,
    mut request: Request,
    arguments: &Arguments,
) -> Result<(Plan, Vec<String>), Vec<Diagnostic>> {
    for object in &graph.objects {
        let Some(t) = arguments.0.get(object.param).and_then(Argument::tensor) else { continue };
        if let Some(class) = other_than_default(t) {
            request.classes.insert(object.name.clone(), class);
        }
    }
    loop {
        let plan = tile_plan::plan(graph, target, &request)?;
        let mut lowered = false;
        for r in &plan.requirements {
            let Some(t) = arguments.0.get(r.param).and_then(Argument::tensor) else { continue };
            if let Some(class) = unmet(r, t).and_then(|_| lower(graph, &plan, &r.name)) {
                lowered = true;
                request.classes.insert(r.name.clone(), class);
            }
        }
        for map in &plan.maps {
            let Some(t) = arguments.0.get(map.param).and_then(Argument::tensor) else { continue };
            if let Some(why) = no_map(&map.template, t) {
                lowered = true;
                request.no_map.insert(map.name.clone(), why);
            }
        }
        if !lowered {
            let names =
                request.classes.into_keys().filter(|n| !plan.maps.iter().any(|m| m.name == *n)).collect();
            return Ok((plan, names));
        }
    }
}

/// Why a tensor has no map of this kind. The address of its first element is aligned as its offset is.
fn no_map(template: &Template, t: &Tensor) -> Option<String> {
    let shape: Vec<u64> = t.shape.iter().map(|&n| n as u64).collect();
    let offset = t.offset() as u64 * t.dtype.bits() as u64 / 8;
    template.of(&shape, &t.strides, offset).err().map(|e| e.to_string())
}

/// The class to begin with; `None` when that is the default, contiguous along the last dimension.
fn other_than_default(t: &Tensor) -> Option<TensorClass> {
    let is_unit = |&d: &usize| t.strides[d] == 1 || t.shape[d] == 1;
    match t.rank().checked_sub(1)? {
        last if is_unit(&last) => None,
        last => Some(match (0..last).rev().find(is_unit) {
            // The plan works out the bytes of the vector itself.
            Some(unit) => TensorClass::Vector { unit, bytes: 16 },
            None => TensorClass::Strided,
        }),
    }
}

fn lower(graph: &Graph, plan: &Plan, name: &str) -> Option<TensorClass> {
    let at = graph.objects.iter().position(|o| o.name == name)?;
    match plan.classes.get(at)? {
        TensorClass::Vector { unit, .. } => Some(TensorClass::Unit { unit: *unit }),
        TensorClass::Unit { .. } => Some(TensorClass::Strided),
        TensorClass::Strided => None,
    }
}

/// What a tensor does not have of what the code relies on. Buffers begin at multiples of 256 bytes on every device,
/// so the address of the first element is aligned as its offset is.
pub fn unmet(r: &Requirement, t: &Tensor) -> Option<String> {
    // In bits, because a vector of small elements may end within a byte.
    let vector = i64::from(r.multiple) * t.dtype.bits() as i64;
    let whole = |elements: i64| elements * t.dtype.bits() as i64 % vector == 0;
    let (name, wanted) = (&r.name, r.bytes);
    if t.shape.get(r.unit).is_none_or(|&n| n != 1 && t.strides[r.unit] != 1) {
        return Some(format!("`{name}` has no unit stride in dimension {}", r.unit));
    }
    if !whole(t.offset() as i64) {
        return Some(format!("`{name}` does not begin at a multiple of {wanted} bytes"));
    }
    let odd = |&d: &usize| d != r.unit && t.shape[d] != 1 && !whole(t.strides[d]);
    if let Some(d) = (0..t.rank()).find(odd) {
        return Some(format!("the stride of `{name}` in dimension {d} is no multiple of {wanted} bytes"));
    }
    if !t.shape[r.unit].is_multiple_of(r.multiple as usize) {
        return Some(format!(
            "the extent of `{name}` in dimension {} is no multiple of {}",
            r.unit, r.multiple
        ));
    }
    None
}

/// As `tilec build` has it: every tensor contiguous along its last dimension.
pub fn is_default(graph: &Graph, plan: &Plan, name: &str) -> bool {
    let at = graph.objects.iter().position(|o| o.name == name);
    at.is_some_and(|at| plan.classes[at] == access::default_class(&graph.objects[at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_base::DType;

    fn requirement(unit: usize, bytes: u32, multiple: u32) -> Requirement {
        Requirement { param: 0, name: "x".into(), unit, bytes, multiple }
    }

    #[test]
    fn each_promise_of_a_vector_is_checked() {
        let dense = Tensor::zeros(DType::F16, &[4, 16]);
        let vector = requirement(1, 16, 8);
        assert_eq!(unmet(&vector, &dense), None);
        let refused = |t: &Tensor| unmet(&vector, t).unwrap();
        assert!(refused(&dense.transposed()).contains("no unit stride"));
        let late = Tensor::zeros(DType::F16, &[65]).view(&[4, 16], &[16, 1], 1).unwrap();
        assert!(refused(&late).contains("begin at a multiple of 16"));
        let narrow = Tensor::zeros(DType::F16, &[80]).view(&[4, 16], &[20, 1], 0).unwrap();
        assert!(refused(&narrow).contains("stride of `x` in dimension 0"));
        assert!(refused(&Tensor::zeros(DType::F16, &[1, 12])).contains("no multiple of 8"));
        // Strides of dimensions of extent 1 are never used.
        let one_row = Tensor::zeros(DType::F16, &[16]).view(&[1, 16], &[3, 1], 0).unwrap();
        assert_eq!(unmet(&vector, &one_row), None);
    }

    #[test]
    fn the_first_class_follows_the_unit_stride() {
        let t = Tensor::zeros(DType::F32, &[4, 8]);
        assert_eq!(other_than_default(&t), None);
        assert_eq!(other_than_default(&t.transposed()), Some(TensorClass::Vector { unit: 0, bytes: 16 }));
        assert_eq!(other_than_default(&t.spread(2)), Some(TensorClass::Strided));
    }
}
