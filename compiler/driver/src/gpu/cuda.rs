//! The launches of a program on a CUDA device.

use super::{DeviceProgram, code::Code};
use std::sync::Arc;
use tile_base::Diagnostic;
use tile_runtime::cuda::{CudaError, Device, Module, Prepared};
use tile_target::Target;
use tile_tensor::Arguments;

/// A CUDA device and the target whose code it takes.
#[derive(Debug)]
pub struct Cuda {
    pub device: Device,
    pub target: &'static Target,
}

impl Cuda {
    pub fn open(ordinal: u32) -> Result<Cuda, Vec<Diagnostic>> {
        let device = Device::open(ordinal).map_err(told)?;
        let target = target_of(device.capability).ok_or_else(|| {
            let message = format!(
                "the CUDA device {ordinal} ({}) has compute capability {}.{}, and the oldest target is 8.0",
                device.name,
                device.capability / 10,
                device.capability % 10
            );
            vec![Diagnostic::global("T0871", message).help("run with `--device cpu`")]
        })?;
        Ok(Cuda { device, target })
    }

    /// Runs a program, `repetitions` times after the first; seconds of each by the device's events. The outputs are
    /// those of the first.
    pub fn run(
        &self,
        program: &DeviceProgram,
        arguments: &mut Arguments,
        repetitions: usize,
    ) -> Result<Vec<f64>, Vec<Diagnostic>> {
        let mut run = || -> Result<Vec<f64>, CudaError> {
            let load = |code: &Arc<Code>| Module::load(&self.device, &code.plan.kernel, &code.ptx);
            let modules = program.codes.iter().map(load).collect::<Result<Vec<_>, _>>()?;
            let mut prepared = Prepared::new(&self.device, &modules, &program.sequence, arguments)?;
            let mut seconds = vec![prepared.launch()?];
            prepared.fetch(arguments)?;
            for _ in 0..repetitions {
                seconds.push(prepared.launch()?);
            }
            Ok(seconds)
        };
        run().map_err(told)
    }
}

fn told(error: CudaError) -> Vec<Diagnostic> {
    vec![error.diagnostic()]
}

/// The newest target whose PTX a device takes. Code with `a` (sm_90a) is for one capability alone; other code runs on
/// everything that is newer too.
fn target_of(capability: u32) -> Option<&'static Target> {
    let takes = |t: &&&'static Target| match t.processor.ends_with('a') {
        true => t.capability == capability,
        false => t.capability <= capability,
    };
    tile_target::ALL.iter().rev().find(takes).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_gets_its_own_code_or_older_portable_code() {
        let name = |capability| target_of(capability).map(|t| t.name);
        assert_eq!(name(90), Some("sm_90"));
        assert_eq!(name(86), Some("sm_86"));
        assert_eq!(name(87), Some("sm_86"), "Orin");
        assert_eq!(name(103), Some("sm_89"), "sm_100a code does not run on 10.3");
        assert_eq!(name(75), None);
    }
}
