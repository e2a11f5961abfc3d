//! `print`: a tile's elements to standard error, one line for each call.

use super::{Class, Env, collective::Shape};
use std::fmt::Write;

/// Most elements of one line.
const SHOWN: usize = 64;

/// Shape, then class, site. The label stands in the environment's list of labels.
pub unsafe extern "C" fn print(env: *mut Env, args: *const i64) -> i64 {
    // SAFETY: a tile of the extents given.
    unsafe {
        let (shape, rest) = Shape::read(args);
        let (class, site) = (*rest, *rest.add(1) as usize);
        let mut text = String::new();
        let mut count = 0;
        shape.each(&[], |from, _| {
            count += 1;
            if count > SHOWN {
                return;
            }
            let _ = match class {
                c if c == Class::F32 as i64 => {
                    write!(text, " {}", *(shape.source as *const f32).offset(from))
                }
                c if c == Class::F64 as i64 => {
                    write!(text, " {}", *(shape.source as *const f64).offset(from))
                }
                c if c == Class::I64 as i64 => {
                    write!(text, " {}", *(shape.source as *const i64).offset(from))
                }
                c if c == Class::Bool as i64 => {
                    write!(text, " {}", *(shape.source as *const i32).offset(from) != 0)
                }
                _ => write!(text, " {}", *(shape.source as *const i32).offset(from)),
            };
        });
        if count > SHOWN {
            let _ = write!(text, " .. ({count} elements)");
        }
        let labels = &*(*env).labels;
        let label = labels.get(site).map_or("", String::as_str);
        eprintln!("{label} {:?} [{}]:{text}", shape.extents, (*env).ticket);
    }
    0
}
