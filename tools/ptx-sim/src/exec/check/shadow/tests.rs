//! States that are kept once, and swept when no memory uses them.

use super::*;

/// A write by one agent, with lanes 5 of so many bytes in a span.
fn state(agent: u32, stamp: u32, lanes: u16) -> State {
    let write = Entry { agent, interval: 3, at: 7, mask: 0xffff, flags: flag::WRITE };
    let mut state = State { cell: Cell { write, rest: vec![] }, ..State::default() };
    let item = Item { stamp, at: 7, code: Code::one(5), mask: lanes };
    state.write.add(&item, 0, &Shapes::default());
    state
}

#[test]
fn a_state_comes_back_as_it_was() {
    let (mut shadow, lanes) = (Shadow::new(1, 2), Lanes::new(2));
    let mut kept = state(1, 3, 0x0ff0);
    let read = |agent| Entry { agent, interval: 4, at: 9, mask: 0x00f0, flags: 0 };
    kept.cell.rest = vec![read(0), read(1)];
    let id = shadow.close(Region::Global, &kept, &lanes);
    assert_eq!(shadow.close(Region::Global, &kept, &lanes), id);
    let mut back = State::default();
    shadow.open(id, 0, &mut back);
    assert_eq!(back.cell, kept.cell);
    assert_eq!(shadow.close(Region::Global, &back, &lanes), id);
    // In two parts it is the same.
    let parts = shadow.close(Region::Shared(0), &kept, &lanes);
    shadow.open(parts, 0, &mut back);
    assert_eq!(shadow.close(Region::Global, &back, &lanes), id);
    let items = |half: &Half| {
        let mut items = vec![];
        half.items(&|_| true, &mut items);
        items
    };
    assert_eq!(items(&back.write), items(&kept.write));
}

#[test]
fn states_without_memory_go_and_the_rest_stay() {
    let (mut shadow, lanes) = (Shadow::new(1, 2), Lanes::new(2));
    shadow.begin(0, 64);
    for n in 0..1000 {
        let id = shadow.close(Region::Global, &state(n, 2, 0xffff), &lanes);
        shadow.set_number(Region::Shared(0), n as u64 % 4, id);
        shadow.set_number(Region::Global, 5 * n as u64, if n % 500 == 0 { id } else { [0; 2] });
    }
    let before = shadow.tables();
    shadow.sweep(|stamp| lanes.live(stamp));
    assert!(shadow.tables() < before / 50, "{} of {before}", shadow.tables());
    let mut back = State::default();
    for n in 996..1000 {
        let id = shadow.number(Region::Shared(0), n % 4).expect("a cell");
        shadow.open(id, 0, &mut back);
        assert_eq!(back.cell.write.agent, n as u32);
    }
}

#[test]
fn what_is_ordered_is_left_out() {
    let (mut shadow, lanes) = (Shadow::new(1, 2), Lanes::new(2));
    // The first stamps of two warps are 2 and 3; 1 is long ago.
    let (old, never) = (
        shadow.close(Region::Global, &state(0, 1, 0xffff), &lanes),
        shadow.close(Region::Global, &state(0, 1, 0), &lanes),
    );
    assert_eq!(old, never);
    assert_ne!(shadow.close(Region::Global, &state(0, 2, 0xffff), &lanes), never);
}
