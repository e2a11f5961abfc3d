//! The state of the driver: one for the process, behind one lock.
//!
//! A client may call from any thread. Work runs when it is enqueued, under the lock; the threads of the simulator
//! share one kernel's CTAs, so that the machine's cores are busy all the same.
//!
//! A context that a kernel has faulted in is dead: [`current`] refuses it with the same error each time, as a device
//! does. Other contexts go on.

use crate::{
    errors::{Error, INVALID_CONTEXT, NOT_INITIALIZED, NOT_PERMITTED},
    event::Event,
    function::Function,
    graph::{Graph, GraphExec},
    handles::{Handle, Kind, Table},
    module::Module,
    pool::Pool,
    stream::Stream,
};
use ptx_sim::memory::Memory;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// A context.
#[derive(Default)]
pub struct Context {
    /// Made for its device and counted, not created by a client.
    pub primary: bool,
    pub flags: u32,
    pub limits: BTreeMap<u32, usize>,
    /// What a kernel of it ended with.
    pub fault: Option<Error>,
    /// Of the streams 0, 1 and 2, and what waits for them.
    pub default: Stream,
}

/// Device memory that a client asked for.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub bytes: usize,
    pub context: Handle,
    pub pool: Option<Handle>,
}

pub struct Driver {
    pub initialised: bool,
    pub memory: Memory,
    pub blocks: BTreeMap<u64, Block>,
    /// How many there have been, which numbers them in findings.
    pub allocations: u64,
    /// Host memory that the library gave out: address and layout size.
    pub host: BTreeMap<usize, usize>,
    pub primary: Option<(Handle, u32)>,
    pub primary_flags: u32,
    pub default_pool: Option<Handle>,
    pub contexts: Table<Context>,
    pub streams: Table<Stream>,
    pub events: Table<Event>,
    pub modules: Table<Module>,
    pub functions: Table<Function>,
    pub pools: Table<Pool>,
    pub graphs: Table<Graph>,
    pub execs: Table<GraphExec>,
}

impl Driver {
    fn new() -> Driver {
        Driver {
            initialised: false,
            memory: Memory::new(),
            blocks: BTreeMap::new(),
            allocations: 0,
            host: BTreeMap::new(),
            primary: None,
            primary_flags: 0,
            default_pool: None,
            contexts: Table::new(Kind::Context),
            streams: Table::new(Kind::Stream),
            events: Table::new(Kind::Event),
            modules: Table::new(Kind::Module),
            functions: Table::new(Kind::Function),
            pools: Table::new(Kind::Pool),
            graphs: Table::new(Kind::Graph),
            execs: Table::new(Kind::GraphExec),
        }
    }

    pub fn context(&mut self, handle: Handle) -> Result<&mut Context, Error> {
        self.contexts.get_mut(handle).map_err(|_| INVALID_CONTEXT)
    }
}

static DRIVER: Mutex<Option<Driver>> = Mutex::new(None);

thread_local! {
    /// Contexts that are current on this thread, the last one on top.
    static CURRENT: RefCell<Vec<Handle>> = const { RefCell::new(vec![]) };
    /// Whether this thread is in a function of the client that the library called.
    static CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// The stack of current contexts. Threads that are ending have none.
pub fn stack<R>(f: impl FnOnce(&mut Vec<Handle>) -> R) -> Option<R> {
    CURRENT.try_with(|c| c.try_borrow_mut().map(|mut stack| f(&mut stack)).ok()).ok().flatten()
}

/// Calls a function of the client, which may not call the driver.
pub fn callback(f: impl FnOnce()) {
    let _ = CALLBACK.try_with(|c| c.set(true));
    f();
    let _ = CALLBACK.try_with(|c| c.set(false));
}

/// The state, initialised or not.
pub fn any<R>(f: impl FnOnce(&mut Driver) -> Result<R, Error>) -> Result<R, Error> {
    if CALLBACK.try_with(Cell::get).unwrap_or(false) {
        return Err(NOT_PERMITTED);
    }
    let mut guard = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
    f(guard.get_or_insert_with(Driver::new))
}

/// The state after cuInit.
pub fn ready<R>(f: impl FnOnce(&mut Driver) -> Result<R, Error>) -> Result<R, Error> {
    any(|driver| match driver.initialised {
        true => f(driver),
        false => Err(NOT_INITIALIZED),
    })
}

/// The state and the current context, which has to be alive.
pub fn current<R>(f: impl FnOnce(&mut Driver, Handle) -> Result<R, Error>) -> Result<R, Error> {
    ready(|driver| {
        let context = stack(|s| s.last().copied()).flatten().ok_or(INVALID_CONTEXT)?;
        match driver.context(context)?.fault {
            Some(fault) => Err(fault),
            None => f(driver, context),
        }
    })
}
