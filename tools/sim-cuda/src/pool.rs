//! Memory pools and allocation in the order of a stream.
//!
//! Work runs when it is enqueued, so an asynchronous allocation is an allocation. Pools keep count and attributes, and
//! give nothing a rest.

use crate::{
    device::check_device,
    entry::{Answer, give},
    errors::{Error, INVALID_VALUE, NOT_SUPPORTED, STREAM_CAPTURE_UNSUPPORTED},
    handles::Handle,
    state::{Driver, current, ready},
};
use std::{collections::BTreeMap, ffi::c_void};

#[derive(Default)]
pub struct Pool {
    /// Attributes that the client has set.
    attributes: BTreeMap<u32, u64>,
}

impl Driver {
    fn device_pool(&mut self) -> Handle {
        match self.default_pool {
            Some(pool) => pool,
            None => {
                let pool = self.pools.insert(Pool::default());
                self.default_pool = Some(pool);
                pool
            }
        }
    }

    fn in_pool(&self, pool: Handle) -> u64 {
        self.blocks.values().filter(|b| b.pool == Some(pool)).map(|b| b.bytes as u64).sum()
    }
}

/// Attributes 1 to 3 are 32-bit switches, 4 to 8 64-bit numbers.
fn is_switch(attribute: u32) -> Result<bool, Error> {
    match attribute {
        1..=3 => Ok(true),
        4..=8 => Ok(false),
        _ => Err(INVALID_VALUE),
    }
}

fn allocate(address: *mut u64, bytes: usize, pool: Option<Handle>, stream: Handle) -> Answer {
    current(|driver, context| {
        if driver.stream(context, stream)?.capture.is_some() {
            return Err(STREAM_CAPTURE_UNSUPPORTED);
        }
        let pool = pool.unwrap_or_else(|| driver.device_pool());
        driver.pools.get(pool)?;
        let made = driver.allocate(context, bytes, Some(pool))?;
        unsafe { give(address, made) }
    })
}

entries! {
    fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: Handle) {
        allocate(address, bytes, None, stream)
    }

    fn cuMemAllocFromPoolAsync(address: *mut u64, bytes: usize, pool: Handle, stream: Handle) {
        allocate(address, bytes, Some(pool), stream)
    }

    fn cuMemFreeAsync(address: u64, stream: Handle) {
        current(|driver, context| {
            if driver.stream(context, stream)?.capture.is_some() {
                return Err(STREAM_CAPTURE_UNSUPPORTED);
            }
            driver.free(address)
        })
    }

    fn cuDeviceGetDefaultMemPool(pool: *mut Handle, device: i32) {
        ready(|driver| {
            check_device(device)?;
            unsafe { give(pool, driver.device_pool()) }
        })
    }

    fn cuDeviceGetMemPool(pool: *mut Handle, device: i32) {
        ready(|driver| {
            check_device(device)?;
            unsafe { give(pool, driver.device_pool()) }
        })
    }

    fn cuDeviceSetMemPool(device: i32, pool: Handle) {
        ready(|driver| {
            check_device(device)?;
            driver.pools.get(pool)?;
            driver.default_pool = Some(pool);
            Ok(())
        })
    }

    fn cuMemPoolCreate(pool: *mut Handle, _properties: *const c_void) {
        ready(|driver| {
            let made = driver.pools.insert(Pool::default());
            unsafe { give(pool, made) }
        })
    }

    fn cuMemPoolDestroy(pool: Handle) {
        ready(|driver| match driver.default_pool == Some(pool) {
            true => Err(INVALID_VALUE),
            false => driver.pools.remove(pool).map(drop),
        })
    }

    fn cuMemPoolTrimTo(pool: Handle, _keep: usize) {
        ready(|driver| driver.pools.get(pool).map(drop))
    }

    fn cuMemPoolSetAttribute(pool: Handle, attribute: u32, value: *mut c_void) {
        ready(|driver| {
            let narrow = is_switch(attribute)?;
            if value.is_null() {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the client gives a number of the attribute's width.
            let number = unsafe {
                if narrow { value.cast::<u32>().read_unaligned().into() } else { value.cast::<u64>().read_unaligned() }
            };
            driver.pools.get_mut(pool)?.attributes.insert(attribute, number);
            Ok(())
        })
    }

    fn cuMemPoolGetAttribute(pool: Handle, attribute: u32, value: *mut c_void) {
        ready(|driver| {
            let narrow = is_switch(attribute)?;
            let set = driver.pools.get(pool)?.attributes.get(&attribute).copied();
            let number = match attribute {
                1..=3 => set.unwrap_or(1),
                4 => set.unwrap_or(0),
                // Reserved and used, now and at most.
                _ => driver.in_pool(pool),
            };
            unsafe { if narrow { give(value.cast(), number as u32) } else { give(value.cast(), number) } }
        })
    }

    fn cuMemPoolSetAccess(pool: Handle, _what: *const c_void, _count: usize) {
        ready(|driver| driver.pools.get(pool).map(drop))
    }

    fn cuMemPoolExportToShareableHandle(_place: *mut c_void, _pool: Handle, _kind: u32, _flags: u64) {
        Err(NOT_SUPPORTED)
    }
}
