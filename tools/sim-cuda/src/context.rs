//! Contexts: the primary one of the device, which is counted, and those that clients create.

use crate::{
    device::check_device,
    entry::{Answer, give, offer},
    errors::{Error, INVALID_CONTEXT, INVALID_VALUE, PRIMARY_CONTEXT_ACTIVE, UNSUPPORTED_LIMIT},
    handles::Handle,
    state::{Context, Driver, current, ready, stack},
};

/// Ends a context and what is of it.
fn destroy(driver: &mut Driver, context: Handle) -> Answer {
    driver.contexts.remove(context).map_err(|_| INVALID_CONTEXT)?;
    let addresses: Vec<u64> =
        driver.blocks.iter().filter(|(_, b)| b.context == context).map(|(&a, _)| a).collect();
    for address in addresses {
        driver.blocks.remove(&address);
        driver.memory.release(address);
    }
    driver.streams.retain(|s| s.context != context);
    driver.modules.retain(|m| m.context != context);
    stack(|s| s.retain(|&c| c != context));
    Ok(())
}

fn create(context: *mut Handle, flags: u32, device: i32) -> Answer {
    ready(|driver| {
        check_device(device)?;
        if context.is_null() {
            return Err(INVALID_VALUE);
        }
        let handle = driver.contexts.insert(Context { flags, ..Context::default() });
        stack(|s| s.push(handle));
        unsafe { give(context, handle) }
    })
}

/// The stack of limits that a client may set: numbers and what they are at first.
const LIMITS: [(u32, usize); 7] =
    [(0, 1024), (1, 1 << 20), (2, 8 << 20), (3, 2), (4, 2048), (5, 128), (6, 0)];

/// The context that an argument means: null is the current one.
fn named(argument: Handle) -> Result<Handle, Error> {
    match argument {
        0 => stack(|s| s.last().copied()).flatten().ok_or(INVALID_CONTEXT),
        handle => Ok(handle),
    }
}

entries! {
    fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: i32) {
        ready(|driver| {
            check_device(device)?;
            let (handle, count) = match driver.primary {
                Some(held) => held,
                None => {
                    let flags = driver.primary_flags;
                    (driver.contexts.insert(Context { primary: true, flags, ..Context::default() }), 0)
                }
            };
            driver.primary = Some((handle, count + 1));
            unsafe { give(context, handle) }
        })
    }

    fn cuDevicePrimaryCtxRelease_v2(device: i32) {
        ready(|driver| {
            check_device(device)?;
            match driver.primary {
                None => Err(INVALID_CONTEXT),
                Some((handle, 1)) => {
                    driver.primary = None;
                    destroy(driver, handle)
                }
                Some((handle, count)) => {
                    driver.primary = Some((handle, count - 1));
                    Ok(())
                }
            }
        })
    }

    fn cuDevicePrimaryCtxReset_v2(device: i32) {
        ready(|driver| {
            check_device(device)?;
            let Some((handle, _)) = driver.primary.take() else { return Ok(()) };
            destroy(driver, handle)
        })
    }

    fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) {
        ready(|driver| {
            check_device(device)?;
            if driver.primary.is_some() {
                return Err(PRIMARY_CONTEXT_ACTIVE);
            }
            driver.primary_flags = flags;
            Ok(())
        })
    }

    fn cuDevicePrimaryCtxGetState(device: i32, flags: *mut u32, active: *mut i32) {
        ready(|driver| {
            check_device(device)?;
            unsafe {
                offer(flags, driver.primary_flags);
                offer(active, driver.primary.is_some() as i32);
            }
            Ok(())
        })
    }

    fn cuCtxCreate_v2(context: *mut Handle, flags: u32, device: i32) {
        create(context, flags, device)
    }

    fn cuCtxCreate_v3(context: *mut Handle, _affinity: *mut u8, _count: i32, flags: u32, device: i32) {
        create(context, flags, device)
    }

    fn cuCtxCreate_v4(context: *mut Handle, _params: *mut u8, flags: u32, device: i32) {
        create(context, flags, device)
    }

    fn cuCtxDestroy_v2(context: Handle) {
        ready(|driver| {
            if driver.context(context)?.primary {
                return Err(INVALID_CONTEXT);
            }
            destroy(driver, context)
        })
    }

    fn cuCtxSetCurrent(context: Handle) {
        ready(|driver| {
            if context != 0 {
                driver.context(context)?;
            }
            stack(|s| {
                s.pop();
                if context != 0 {
                    s.push(context);
                }
            });
            Ok(())
        })
    }

    fn cuCtxGetCurrent(context: *mut Handle) {
        ready(|_| unsafe { give(context, stack(|s| s.last().copied()).flatten().unwrap_or(0)) })
    }

    fn cuCtxPushCurrent_v2(context: Handle) {
        ready(|driver| {
            driver.context(context)?;
            stack(|s| s.push(context));
            Ok(())
        })
    }

    fn cuCtxPopCurrent_v2(context: *mut Handle) {
        ready(|_| {
            let top = stack(Vec::pop).flatten().ok_or(INVALID_CONTEXT)?;
            unsafe { offer(context, top) };
            Ok(())
        })
    }

    fn cuCtxGetDevice(device: *mut i32) {
        ready(|_| {
            named(0)?;
            unsafe { give(device, 0) }
        })
    }

    fn cuCtxGetDevice_v2(device: *mut i32, context: Handle) {
        ready(|driver| {
            driver.context(named(context)?)?;
            unsafe { give(device, 0) }
        })
    }

    fn cuCtxGetFlags(flags: *mut u32) {
        ready(|driver| {
            let value = driver.context(named(0)?)?.flags;
            unsafe { give(flags, value) }
        })
    }

    fn cuCtxGetId(context: Handle, id: *mut u64) {
        ready(|driver| {
            let handle = named(context)?;
            driver.context(handle)?;
            unsafe { give(id, handle & 0xffff_ffff) }
        })
    }

    fn cuCtxGetApiVersion(context: Handle, version: *mut u32) {
        ready(|driver| {
            driver.context(named(context)?)?;
            unsafe { give(version, 3020) }
        })
    }

    fn cuCtxSynchronize() {
        current(|_, _| Ok(()))
    }

    fn cuCtxSynchronize_v2(context: Handle) {
        ready(|driver| match driver.context(named(context)?)?.fault {
            Some(fault) => Err(fault),
            None => Ok(()),
        })
    }

    fn cuCtxGetLimit(value: *mut usize, limit: u32) {
        current(|driver, context| {
            let known = LIMITS.iter().find(|(n, _)| *n == limit).ok_or(UNSUPPORTED_LIMIT)?;
            let set = driver.context(context)?.limits.get(&limit).copied();
            unsafe { give(value, set.unwrap_or(known.1)) }
        })
    }

    fn cuCtxSetLimit(limit: u32, value: usize) {
        current(|driver, context| {
            LIMITS.iter().find(|(n, _)| *n == limit).ok_or(UNSUPPORTED_LIMIT)?;
            driver.context(context)?.limits.insert(limit, value);
            Ok(())
        })
    }

    fn cuCtxGetStreamPriorityRange(least: *mut i32, greatest: *mut i32) {
        current(|_, _| {
            unsafe {
                offer(least, 0);
                offer(greatest, -5);
            }
            Ok(())
        })
    }

    fn cuCtxGetCacheConfig(config: *mut u32) {
        current(|_, _| unsafe { give(config, 0) })
    }

    fn cuCtxSetCacheConfig(_config: u32) {
        current(|_, _| Ok(()))
    }
}
