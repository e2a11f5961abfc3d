//! Events: points of a stream's simulated time.

use crate::{
    entry::{Answer, give},
    errors::{CAPTURED_EVENT, INVALID_HANDLE},
    graph::Capture,
    handles::Handle,
    state::current,
};

/// `CU_EVENT_DISABLE_TIMING`
const NO_TIME: u32 = 2;

#[derive(Default)]
pub struct Event {
    pub flags: u32,
    /// When it was recorded, in nanoseconds.
    pub at: Option<u64>,
    /// The point of a graph in the making, when it was recorded in a stream that captures.
    pub captured: Option<Capture>,
}

fn record(event: Handle, stream: Handle) -> Answer {
    current(|driver, context| {
        driver.events.get(event)?;
        let capture = driver.stream(context, stream)?.capture.clone();
        if capture.is_none() {
            // Takes its turn among the streams, and no time.
            driver.advance(context, stream, 0)?;
        }
        let now = driver.stream(context, stream)?.now;
        let event = driver.events.get_mut(event)?;
        match capture {
            Some(_) => event.captured = capture,
            None => (event.at, event.captured) = (Some(now), None),
        }
        Ok(())
    })
}

/// All work that was enqueued has run.
fn wait(event: Handle) -> Answer {
    current(|driver, _| match driver.events.get(event)?.captured {
        Some(_) => Err(CAPTURED_EVENT),
        None => Ok(()),
    })
}

unsafe fn elapsed(milliseconds: *mut f32, from: Handle, to: Handle) -> Answer {
    current(|driver, _| {
        let time = |handle| {
            let event = driver.events.get(handle)?;
            match event.flags & NO_TIME {
                0 => event.at.ok_or(INVALID_HANDLE),
                _ => Err(INVALID_HANDLE),
            }
        };
        let (from, to) = (time(from)?, time(to)?);
        // SAFETY: as the client promises.
        unsafe { give(milliseconds, ((to as f64 - from as f64) / 1e6) as f32) }
    })
}

entries! {
    fn cuEventCreate(event: *mut Handle, flags: u32) {
        current(|driver, _| {
            let made = driver.events.insert(Event { flags, ..Event::default() });
            unsafe { give(event, made) }
        })
    }

    fn cuEventDestroy_v2(event: Handle) {
        current(|driver, _| driver.events.remove(event).map(drop))
    }

    fn cuEventRecord(event: Handle, stream: Handle) {
        record(event, stream)
    }

    fn cuEventRecordWithFlags(event: Handle, stream: Handle, _flags: u32) {
        record(event, stream)
    }

    fn cuEventQuery(event: Handle) {
        wait(event)
    }

    fn cuEventSynchronize(event: Handle) {
        wait(event)
    }

    fn cuEventElapsedTime(milliseconds: *mut f32, from: Handle, to: Handle) {
        unsafe { elapsed(milliseconds, from, to) }
    }

    fn cuEventElapsedTime_v2(milliseconds: *mut f32, from: Handle, to: Handle) {
        unsafe { elapsed(milliseconds, from, to) }
    }
}
