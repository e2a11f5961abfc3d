//! L = sum seed * output along a line through the arguments, by the spec of the forward.
//!
//! Where an output is infinite (the logarithm of an empty sum), it takes no part: L is the sum over what is finite at every
//! point that is looked at.

use super::call;
use crate::{Loaded, testing::Case};
use tile_base::{Diagnostic, Signature};
use tile_oracle::spec::{self, Prepared};
use tile_sema::Instance;
use tile_syntax::ast::{Access, Generic, Grad, Param};
use tile_tensor::{Argument, Arguments, launch};

use crate::choose::{Callable, generic_name};

/// The forward at the arguments of a case.
pub(super) struct Forward {
    spec: Prepared,
    /// Outputs with the gradients that come in.
    seeds: Vec<(String, Vec<f64>)>,
}

/// A slope, and how far rounding may have moved it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope {
    pub value: f64,
    pub noise: f64,
}

impl Forward {
    /// For a call of `f.vjp`, whose signature and arguments are given.
    pub fn new(
        loaded: &Loaded,
        case: &Case,
        grad: &Grad,
        signature: &Signature,
        arguments: &Arguments,
    ) -> Result<Forward, Vec<Diagnostic>> {
        let module = &loaded.module;
        let name = &grad.name.name;
        let item = module.resolve(module.main(), name).map(|at| module.item(at));
        let Some(callable) = item.and_then(Callable::of) else { return Err(vec![]) };
        let instance = instance(callable, grad, &case.instance());
        let own = match callable.is_op {
            true => tile_sema::instantiate_op(module, name, &instance)?.signature,
            false => tile_sema::instantiate(module, name, &instance)?.signature,
        };
        let dims = launch::bind(signature, arguments)?;
        let dims = signature.dims.iter().cloned().zip(dims).collect();
        let mut passed = call::passed(&own, &|n| arguments.get(signature, n).cloned());
        launch::allocate_outputs(&own, &mut passed, &dims)?;
        let spec = spec::prepare(module, name, &instance, &own, &passed)?;
        let seeds = grad.seeds.iter().filter_map(|s| match arguments.get(signature, &s.name.name) {
            Some(Argument::Tensor(t)) => Some((s.of.name.clone(), t.to_f64_vec())),
            _ => None,
        });
        Ok(Forward { spec, seeds: seeds.collect() })
    }

    /// Of L at `at` along `direction`, for an input; `h` is the step.
    pub fn slope(
        &self,
        input: &str,
        at: &[f64],
        direction: &[f64],
        h: f64,
    ) -> Result<Slope, Vec<Diagnostic>> {
        let mut points = vec![];
        for step in [-2.0, -1.0, 1.0, 2.0] {
            let moved: Vec<f64> = at.iter().zip(direction).map(|(x, u)| x + step * h * u).collect();
            points.push(self.spec.evaluate(&[(input, &moved)])?);
        }
        let (mut sum, mut size) = (0.0, 0.0);
        for (output, seed) in &self.seeds {
            let values: Vec<&[f64]> =
                points.iter().filter_map(|p| Some(&p.get(output)?.values[..])).collect();
            let [a, b, c, d] = values[..] else { continue };
            for (n, g) in seed.iter().enumerate() {
                let (a, b, c, d) = (a[n], b[n], c[n], d[n]);
                if [a, b, c, d].iter().all(|v| v.is_finite()) {
                    sum += g * (8.0 * (c - b) - (d - a));
                    size += (g * c).abs();
                }
            }
        }
        Ok(Slope { value: sum / (12.0 * h), noise: 64.0 * f64::EPSILON * size / h })
    }
}

/// What an instance of `f.vjp` says of `f`: outputs without a seed are left out where they can be.
fn instance(callable: Callable, grad: &Grad, of: &Instance) -> Instance {
    let generics: Vec<&str> = callable.generics.iter().map(|g: &Generic| generic_name(g)).collect();
    let own = |name: &String| generics.contains(&name.as_str());
    let seeded = |p: &Param| grad.seeds.iter().any(|s| s.of.name == p.name.name);
    let absent = callable.params.iter().filter(|p| match p.mode {
        Some(mode) if mode.access == Access::In => of.absent.contains(&p.name.name),
        Some(mode) => mode.optional && !seeded(p),
        None => false,
    });
    Instance {
        dtypes: of.dtypes.iter().filter(|(n, _)| own(n)).map(|(n, v)| (n.clone(), *v)).collect(),
        consts: of.consts.iter().filter(|(n, _)| own(n)).map(|(n, v)| (n.clone(), *v)).collect(),
        functions: of.functions.iter().filter(|(n, _)| own(n)).map(|(n, v)| (n.clone(), v.clone())).collect(),
        absent: absent.map(|p| p.name.name.clone()).collect(),
    }
}
