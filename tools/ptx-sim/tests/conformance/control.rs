//! Branches, loops, calls of functions, tables of labels and of functions, nested scopes.

use super::case::{Case, Target::*};

/// One warp; each lane computes `%r1` from its number in `%t`.
fn lanes(name: &str, declarations: &str, text: &str, f: impl Fn(u32) -> u32) -> Case {
    let body = format!(
        "    mad.wide.u32 %out, %t, 4, %out; mov.u32 %r1, 0;\n    {text}\n    st.global.u32 [%out], %r1;"
    );
    let expected: Vec<u32> = (0..64).map(f).collect();
    Case::new(name, Sm80, 64, &body).module(declarations).expect(&expected)
}

const FUNCTIONS: &str = "
.func (.param .b32 result) ctl_triple (.param .b32 value)
{ .reg .b32 %r<3>; ld.param.b32 %r1, [value]; mul.lo.u32 %r2, %r1, 3; st.param.b32 [result+0], %r2; ret; }
.func (.param .b32 result) ctl_sum (.param .align 8 .b8 pair[16])
{ .reg .b32 %r<5>; .reg .b64 %x<3>; ld.param.u64 %x1, [pair]; ld.param.u32 %r1, [pair+8]; cvt.u32.u64 %r2, %x1; add.u32 %r3, %r1, %r2;
  { .param .b32 p; .param .b32 q; st.param.b32 [p], %r3; call.uni (q), ctl_triple, (p); ld.param.b32 %r4, [q]; }
  st.param.b32 [result], %r4; ret; }
.func (.reg .u32 y) ctl_legacy (.reg .u32 x, .reg .u32 n)
{ .reg .pred p; setp.gt.u32 p, x, 9; @p bra big; add.u32 y, x, n; ret; big: mov.u32 y, 1000; @p ret; mov.u32 y, 7; }
.func (.param .b32 result) ctl_square (.param .b32 value)
{ .reg .b32 %r<3>; ld.param.b32 %r1, [value]; mul.lo.u32 %r2, %r1, %r1; st.param.b32 [result], %r2; ret; }
.func ctl_stop (.param .b32 value)
{ .reg .b32 a; .reg .pred p; ld.param.b32 a, [value]; setp.eq.u32 p, a, 5; @p exit; }
.global .align 8 .u64 ctl_table[2] = {ctl_triple, ctl_square};
";

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    loops(&mut out);
    scopes(&mut out);
    calls(&mut out);
    tables(&mut out);
    out
}

fn loops(out: &mut Vec<Case>) {
    let text = "mov.u32 %r2, %t; again: setp.eq.u32 %p1, %r2, 0; @%p1 bra done; add.u32 %r1, %r1, %r2; sub.u32 %r2, %r2, 1; bra.uni again; done:";
    // `bra.uni` may not diverge; the loop's own branch does.
    out.push(lanes("a loop of its own length", "", &text.replace("bra.uni", "bra"), |t| t * (t + 1) / 2));
    let text = "mov.u32 %r2, 0; outer: mov.u32 %r3, 0; inner: setp.gt.u32 %p1, %r3, %r2; @%p1 bra next; xor.b32 %r4, %r2, %r3; and.b32 %r4, %r4, %t; add.u32 %r1, %r1, %r4; add.u32 %r3, %r3, 1; setp.lt.u32 %p2, %r1, 200; @%p2 bra inner; bra done; next: add.u32 %r2, %r2, 1; setp.le.u32 %p1, %r2, %t; @%p1 bra outer; done:";
    out.push(lanes("nested loops with a way out", "", text, |t| {
        let mut sum = 0;
        let mut i = 0;
        'all: loop {
            let mut j = 0;
            loop {
                if j > i {
                    break;
                }
                sum += (i ^ j) & t;
                j += 1;
                if sum >= 200 {
                    break 'all;
                }
            }
            i += 1;
            if i > t {
                break;
            }
        }
        sum
    }));
    let text = "setp.lt.u32 %p1, %t, 10; @%p1 mov.u32 %r1, 1; @!%p1 mov.u32 %r1, 2; setp.eq.u32 %p2, %t, 63; @%p2 st.global.u32 [%out], 9; @%p2 exit;";
    out.push(lanes("predicates and exit", "", text, |t| {
        if t == 63 {
            9
        } else if t < 10 {
            1
        } else {
            2
        }
    }));
}

fn scopes(out: &mut Vec<Case>) {
    let text = "{ .reg .b32 v; .reg .pred p; mov.u32 v, %t; setp.lt.u32 p, v, 32; @p bra L; add.u32 v, v, 100; L: add.u32 %r1, %r1, v;
    { .reg .b32 v; mov.u32 v, 7; setp.lt.u32 p, %t, 16; @p bra L; add.u32 v, v, 1000; L: add.u32 %r1, %r1, v; } add.u32 %r1, %r1, v; }
    { .reg .b32 v; mov.u32 v, 1; L: add.u32 %r1, %r1, v; }";
    out.push(lanes("names repeat in nested scopes", "", text, |t| {
        let v = if t < 32 { t } else { t + 100 };
        2 * v + 7 + if t < 16 { 0 } else { 1000 } + 1
    }));
    let text = "{ .reg .b32 %q<3>; mov.u32 %q0, 5; { .reg .b64 %q<2>; cvt.u64.u32 %q1, %t; cvt.u32.u64 %r2, %q1; } add.u32 %r1, %r2, %q0; }";
    out.push(lanes("numbered registers repeat too", "", text, |t| t + 5));
    let text = "mov.u32 %r2, 0x1F+(3*4-2)<<1; mov.b32 %r3, 0b1010; mov.b32 %r4, 017; add.u32 %r1, %r2, %r3; add.u32 %r1, %r1, %r4; add.u32 %r1, %r1, WARP_SZ-31; add.s32 %r1, %r1, -2;";
    out.push(lanes("constant expressions", "", text, |_| ((0x1f + 10) << 1) + 10 + 15 + 1 - 2));
}

fn calls(out: &mut Vec<Case>) {
    let call = "{ .param .b32 p; .param .b32 q; st.param.b32 [p], %t; call.uni (q), ctl_triple, (p); ld.param.b32 %r1, [q]; }";
    out.push(lanes("a call", FUNCTIONS, call, |t| 3 * t));
    let renamed = |n: usize, text: &str| {
        // Each case declares its own functions: names are global to a module.
        (FUNCTIONS.replace("ctl_", &format!("ctl{n}_")), text.replace("ctl_", &format!("ctl{n}_")))
    };
    let mut add = |n: usize, name: &str, text: &str, f: &dyn Fn(u32) -> u32| {
        let (declarations, text) = renamed(n, text);
        out.push(lanes(name, &declarations, &text, f));
    };
    let text = "{ .param .align 8 .b8 p[16]; .param .b32 q; cvt.u64.u32 %x1, %t; st.param.u64 [p], %x1; st.param.u32 [p+8], 10; call (q), ctl_sum, (p); ld.param.b32 %r1, [q]; }";
    add(1, "a struct by value, and a call within", text, &|t| 3 * (t + 10));
    add(2, "registers as parameters", "call (%r1), ctl_legacy, (%t, 5);", &|t| {
        if t > 9 { 1000 } else { t + 5 }
    });
    let text = "setp.gt.u32 %p1, %t, 20; mov.u32 %r1, 1; { .param .b32 p; .param .b32 q; st.param.b32 [p], %t; @%p1 call (q), ctl_square, (p); ld.param.b32 %r2, [q]; } selp.b32 %r1, %r2, %r1, %p1;";
    add(3, "a call under a guard", text, &|t| if t > 20 { t * t } else { 1 });
    let text = "and.b32 %r2, %t, 1; mul.wide.u32 %x1, %r2, 8; mov.u64 %x2, ctl_table; add.u64 %x1, %x1, %x2; ld.global.u64 %x3, [%x1];
    { .param .b32 p; .param .b32 q; st.param.b32 [p], %t; proto: .callprototype (.param .b32 _) _ (.param .b32 _); call (q), %x3, (p), proto; ld.param.b32 %r1, [q]; }";
    add(4, "a call through a pointer", text, &|t| if t % 2 == 0 { 3 * t } else { t * t });
    let text = "mov.u64 %x3, ctl_square; setp.lt.u32 %p1, %t, 8; @%p1 bra go; mov.u64 %x3, ctl_triple; go:
    { .param .b32 p; .param .b32 q; st.param.b32 [p], %t; targets: .calltargets ctl_triple, ctl_square; call (q), %x3, (p), targets; ld.param.b32 %r1, [q]; }";
    add(5, "a call with its targets", text, &|t| if t < 8 { t * t } else { 3 * t });
    let text = "{ .param .b32 p; st.param.b32 [p], %t; st.global.u32 [%out], 77; call ctl_stop, (p); } mov.u32 %r1, 1;";
    add(6, "exit within a function", text, &|t| if t == 5 { 77 } else { 1 });
}

fn tables(out: &mut Vec<Case>) {
    let text = "and.b32 %r2, %t, 3; mov.u32 %r1, 1; ways: .branchtargets zero, one, two, one; brx.idx %r2, ways;
    zero: add.u32 %r1, %r1, 10; bra done; one: add.u32 %r1, %r1, 20; bra done; two: add.u32 %r1, %r1, 30; done: add.u32 %r1, %r1, %t;";
    out.push(lanes("brx.idx", "", text, |t| 1 + [10, 20, 30, 20][t as usize & 3] + t));
}
