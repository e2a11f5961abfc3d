//! Streams: their order, their time, and whether they record instead of run.

use crate::{
    entry::{Answer, give, offer},
    errors::{
        CAPTURED_EVENT, Error, ILLEGAL_STATE, INVALID_VALUE, STREAM_CAPTURE_MERGE, STREAM_CAPTURE_UNJOINED,
        STREAM_CAPTURE_UNMATCHED, STREAM_CAPTURE_UNSUPPORTED,
    },
    graph::{Capture, Graph},
    handles::Handle,
    state::{Driver, callback, current},
    work::{self, Work},
};
use ptx_sim::GridLog;
use std::{ffi::c_void, sync::Arc};

/// `CU_STREAM_NON_BLOCKING`: not ordered with the default stream.
const NON_BLOCKING: u32 = 1;

#[derive(Default)]
pub struct Stream {
    pub context: Handle,
    pub flags: u32,
    pub priority: i32,
    /// Simulated time of the last operation's end, in nanoseconds.
    pub now: u64,
    pub capture: Option<Capture>,
    /// What the last operation did to memory, if it was a kernel and check mode is on.
    pub ahead: Option<Arc<GridLog>>,
}

/// The streams 0 (or 1, "legacy") and 2 ("per thread") are the context's own.
pub fn is_default(stream: Handle) -> bool {
    stream <= 2
}

impl Driver {
    pub fn stream(&mut self, context: Handle, stream: Handle) -> Result<&mut Stream, Error> {
        match is_default(stream) {
            true => Ok(&mut self.context(context)?.default),
            false => self.streams.get_mut(stream),
        }
    }

    /// Runs an operation in the order of a stream, or adds it to the graph that the stream records.
    pub fn submit(&mut self, context: Handle, stream: Handle, work: Work) -> Answer {
        let capture = self.stream(context, stream)?.capture.clone();
        if let Some(mut capture) = capture {
            let node = self.graphs.get_mut(capture.graph)?.add(work, &capture.last)?;
            capture.last = vec![node];
            self.stream(context, stream)?.capture = Some(capture);
            return Ok(());
        }
        let ahead = self.stream(context, stream)?.ahead.take();
        let done = work::run(self, context, &work, ahead.into_iter().collect())?;
        self.stream(context, stream)?.ahead = done.log;
        self.advance(context, stream, done.nanoseconds)
    }

    /// Moves a stream's time on. The default stream waits for all blocking ones, and they for it.
    pub fn advance(&mut self, context: Handle, stream: Handle, spent: u64) -> Answer {
        let default = self.context(context)?.default.now;
        let blocking = |s: &Stream| s.context == context && s.flags & NON_BLOCKING == 0;
        let others = self.streams.iter().filter(|(_, s)| blocking(s)).map(|(_, s)| s.now).max().unwrap_or(0);
        let is_default = is_default(stream);
        let own = self.stream(context, stream)?;
        let start = match (is_default, own.flags & NON_BLOCKING) {
            (true, _) => own.now.max(others),
            (false, 0) => own.now.max(default),
            (false, _) => own.now,
        };
        own.now = start + spent;
        Ok(())
    }

    fn make_stream(&mut self, context: Handle, flags: u32, priority: i32) -> Handle {
        let now = self.context(context).map_or(0, |c| c.default.now);
        self.streams.insert(Stream { context, flags, priority, now, capture: None, ahead: None })
    }
}

fn synchronize(stream: Handle) -> Answer {
    current(|driver, context| match driver.stream(context, stream)?.capture {
        Some(_) => Err(STREAM_CAPTURE_UNSUPPORTED),
        None => Ok(()),
    })
}

fn begin_capture(stream: Handle) -> Answer {
    current(|driver, context| {
        if is_default(stream) && stream != 2 {
            return Err(STREAM_CAPTURE_UNSUPPORTED);
        }
        if driver.stream(context, stream)?.capture.is_some() {
            return Err(ILLEGAL_STATE);
        }
        let graph = driver.graphs.insert(Graph::default());
        driver.stream(context, stream)?.capture = Some(Capture { graph, last: vec![], origin: stream });
        Ok(())
    })
}

/// Status of a capture as the API counts: 0 none, 1 active.
unsafe fn capture_info(stream: Handle, status: *mut u32, id: *mut u64, graph: *mut Handle) -> Answer {
    current(|driver, context| {
        let capture = driver.stream(context, stream)?.capture.clone();
        // SAFETY: as the client promises.
        unsafe {
            give(status, capture.is_some() as u32)?;
            if let Some(capture) = capture {
                offer(id, capture.graph & 0xffff_ffff);
                offer(graph, capture.graph);
            }
        }
        Ok(())
    })
}

entries! {
    fn cuStreamCreate(stream: *mut Handle, flags: u32) {
        current(|driver, context| {
            let made = driver.make_stream(context, flags, 0);
            unsafe { give(stream, made) }
        })
    }

    fn cuStreamCreateWithPriority(stream: *mut Handle, flags: u32, priority: i32) {
        current(|driver, context| {
            let made = driver.make_stream(context, flags, priority.clamp(-5, 0));
            unsafe { give(stream, made) }
        })
    }

    fn cuStreamDestroy_v2(stream: Handle) {
        current(|driver, _| driver.streams.remove(stream).map(drop))
    }

    fn cuStreamSynchronize(stream: Handle) {
        synchronize(stream)
    }

    fn cuStreamQuery(stream: Handle) {
        synchronize(stream)
    }

    fn cuStreamGetFlags(stream: Handle, flags: *mut u32) {
        current(|driver, context| {
            let value = driver.stream(context, stream)?.flags;
            unsafe { give(flags, value) }
        })
    }

    fn cuStreamGetPriority(stream: Handle, priority: *mut i32) {
        current(|driver, context| {
            let value = driver.stream(context, stream)?.priority;
            unsafe { give(priority, value) }
        })
    }

    fn cuStreamGetId(stream: Handle, id: *mut u64) {
        current(|driver, context| {
            driver.stream(context, stream)?;
            unsafe { give(id, stream & 0xffff_ffff) }
        })
    }

    fn cuStreamGetDevice(stream: Handle, device: *mut i32) {
        current(|driver, context| {
            driver.stream(context, stream)?;
            unsafe { give(device, 0) }
        })
    }

    fn cuStreamGetCtx(stream: Handle, place: *mut Handle) {
        current(|driver, context| {
            let own = driver.stream(context, stream)?.context;
            unsafe { give(place, if is_default(stream) { context } else { own }) }
        })
    }

    fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: u32) {
        current(|driver, context| {
            let (at, captured) = {
                let event = driver.events.get(event)?;
                (event.at.unwrap_or(0), event.captured.clone())
            };
            let own = driver.stream(context, stream)?;
            match (captured, &mut own.capture) {
                // The stream joins the recording, or waits for one more node of it.
                (Some(c), None) => own.capture = Some(c),
                (Some(c), Some(mine)) if c.graph == mine.graph => mine.last.extend(c.last),
                (Some(_), Some(_)) => return Err(STREAM_CAPTURE_MERGE),
                (None, Some(_)) => return Err(CAPTURED_EVENT),
                (None, None) => own.now = own.now.max(at),
            }
            Ok(())
        })
    }

    fn cuLaunchHostFunc(stream: Handle, function: Option<unsafe extern "C" fn(*mut c_void)>, data: *mut c_void) {
        let function = function.ok_or(INVALID_VALUE)?;
        current(|driver, context| driver.submit(context, stream, Work::Host { function, data: data as usize }))
    }

    fn cuStreamAddCallback(
        stream: Handle,
        function: Option<unsafe extern "C" fn(Handle, u32, *mut c_void)>,
        data: *mut c_void,
        _flags: u32,
    ) {
        let function = function.ok_or(INVALID_VALUE)?;
        synchronize(stream)?;
        // SAFETY: the client's function, called as it asks.
        callback(|| unsafe { function(stream, 0, data) });
        Ok(())
    }

    fn cuStreamBeginCapture_v2(stream: Handle, _mode: u32) {
        begin_capture(stream)
    }

    fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) {
        current(|driver, context| {
            let own = driver.stream(context, stream)?;
            let capture = own.capture.take().ok_or(STREAM_CAPTURE_UNMATCHED)?;
            if capture.origin != stream {
                own.capture = Some(capture);
                return Err(STREAM_CAPTURE_UNMATCHED);
            }
            // Streams that joined have to have come back, which is when their last nodes are reached from here.
            let mut joined = true;
            for other in driver.streams.values_mut() {
                if other.capture.as_ref().is_some_and(|c| c.graph == capture.graph) {
                    let last = other.capture.take().map(|c| c.last).unwrap_or_default();
                    let graph = driver.graphs.get(capture.graph)?;
                    joined &= last.iter().all(|&n| graph.reaches(&capture.last, n));
                }
            }
            if !joined {
                driver.graphs.remove(capture.graph)?;
                return Err(STREAM_CAPTURE_UNJOINED);
            }
            unsafe { give(graph, capture.graph) }
        })
    }

    fn cuStreamIsCapturing(stream: Handle, status: *mut u32) {
        unsafe { capture_info(stream, status, std::ptr::null_mut(), std::ptr::null_mut()) }
    }

    fn cuStreamGetCaptureInfo_v2(
        stream: Handle,
        status: *mut u32,
        id: *mut u64,
        graph: *mut Handle,
        nodes: *mut *const Handle,
        count: *mut usize,
    ) {
        // The nodes of a capture in progress are not shown.
        unsafe {
            offer(nodes, std::ptr::null());
            offer(count, 0);
            capture_info(stream, status, id, graph)
        }
    }

    fn cuStreamGetCaptureInfo_v3(
        stream: Handle,
        status: *mut u32,
        id: *mut u64,
        graph: *mut Handle,
        nodes: *mut *const Handle,
        edges: *mut *const c_void,
        count: *mut usize,
    ) {
        unsafe {
            offer(nodes, std::ptr::null());
            offer(edges, std::ptr::null());
            offer(count, 0);
            capture_info(stream, status, id, graph)
        }
    }

    fn cuThreadExchangeStreamCaptureMode(mode: *mut u32) {
        match mode.is_null() {
            true => Err(INVALID_VALUE),
            false => Ok(()),
        }
    }
}
