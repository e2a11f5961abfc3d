//! What clients load: PTX as text without a length; what is no text is told apart and refused with a reason.
//!
//! A cubin begins with the letters of ELF, a fat binary with its own mark; both hold code for a real chip, which only
//! that runs. PTX begins with a comment or `.version`, and ends with a zero byte.

use crate::{
    device::CAPABILITY,
    errors::{Error, INVALID_IMAGE, INVALID_PTX, NO_BINARY_FOR_GPU},
};
use ptx_sim::{decode, ir::Kernel, read};
use std::{ffi::CStr, sync::Arc};

/// What could not be loaded, and why.
#[derive(Debug)]
pub struct Refused {
    pub error: Error,
    pub why: String,
}

const ELF: [u8; 4] = [0x7f, b'E', b'L', b'F'];
/// Of a fat binary, and of the structure that points to one.
const FAT: [[u8; 4]; 2] = [[0x50, 0xed, 0x55, 0xba], [0xb1, 0x43, 0x62, 0x46]];

/// A module's text and its kernels, decoded.
#[derive(Debug)]
pub struct Image {
    pub kernels: Vec<Arc<Kernel>>,
    pub variables: Vec<read::Variable>,
}

/// # Safety
/// The image is null, or has four bytes at least, and ends with a zero when it is text.
pub unsafe fn load(image: *const u8) -> Result<Image, Refused> {
    if image.is_null() {
        return Err(Refused { error: INVALID_IMAGE, why: "there is no image".into() });
    }
    // SAFETY: as the caller promises; shorter texts end with their zero, before which the loop stops.
    let first: Vec<u8> = unsafe { (0..4).map(|n| *image.add(n)).take_while(|&b| b != 0).collect() };
    let binary = match &first[..] {
        b if *b == ELF => Some("a cubin"),
        b if FAT.iter().any(|f| f == b) => Some("a fat binary"),
        _ => None,
    };
    if let Some(kind) = binary {
        let why = format!("this is {kind}, with code for a real GPU; the simulator takes PTX");
        return Err(Refused { error: NO_BINARY_FOR_GPU, why });
    }
    // SAFETY: a text, which ends with a zero.
    let text = unsafe { CStr::from_ptr(image.cast()) };
    let text =
        text.to_str().map_err(|_| Refused { error: INVALID_IMAGE, why: "the image is no text".into() })?;
    parse(text)
}

pub fn parse(text: &str) -> Result<Image, Refused> {
    let invalid = |e: read::ReadError| Refused { error: INVALID_PTX, why: format!("ptx-sim: {e}") };
    let module = read::parse(text).map_err(invalid)?;
    if module.target.is_empty() {
        return Err(Refused { error: INVALID_PTX, why: "the text has no .target".into() });
    }
    if !runs_here(&module.target) {
        let why = format!("code for {} does not run on sm_{CAPABILITY}", module.target);
        return Err(Refused { error: NO_BINARY_FOR_GPU, why });
    }
    let entries = module.functions.iter().filter(|f| f.entry && f.body.is_some());
    let kernels: Vec<Arc<Kernel>> = entries
        .map(|f| decode::kernel(&module, &f.name).map(Arc::new))
        .collect::<Result<_, _>>()
        .map_err(invalid)?;
    let mut variables = decode::variables(&module);
    // Those that a kernel declares within itself are of the module too.
    for v in kernels.iter().flat_map(|k| &k.globals) {
        if !variables.iter().any(|known| known.name == v.name) {
            variables.push(v.clone());
        }
    }
    Ok(Image { kernels, variables })
}

/// `sm_80` runs on what is newer; `sm_90a` on 9.0 alone; `sm_100f` on its family.
fn runs_here(target: &str) -> bool {
    let name = target.split(',').next().unwrap_or_default().trim().trim_start_matches("sm_");
    let digits = name.trim_end_matches(|c: char| c.is_ascii_lowercase());
    match digits.parse::<u32>() {
        Ok(n) if digits.len() == name.len() => n <= CAPABILITY,
        Ok(n) => n == CAPABILITY,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_told_from_text() {
        // SAFETY: both end with a zero.
        let refused = |bytes: &[u8]| unsafe { load(bytes.as_ptr()) }.unwrap_err();
        assert_eq!(refused(b"\x7fELF\x02\x01\0").error, NO_BINARY_FOR_GPU);
        assert_eq!(refused(b"\x50\xed\x55\xba\x01\0").error, NO_BINARY_FOR_GPU);
        assert_eq!(refused(b".version 8.0\n.target sm_80\nsoup;\0").error, INVALID_PTX);
        assert_eq!(refused(b".version 8.0\n.target sm_100a\n\0").error, NO_BINARY_FOR_GPU);
        assert_eq!(refused(b"\0").error, INVALID_PTX);
        assert_eq!(refused(b"\xff\xfe\xfd\xfc\0").error, INVALID_IMAGE);
    }

    #[test]
    fn code_for_older_chips_and_for_this_one_runs() {
        for (target, runs) in [
            ("sm_80", true),
            ("sm_90", true),
            ("sm_90a", true),
            ("sm_89a", false),
            ("sm_100", false),
            ("x", false),
        ] {
            assert_eq!(runs_here(target), runs, "{target}");
        }
    }
}
