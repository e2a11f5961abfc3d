//! `assert` on a device: the CUDA run-time system's own `__assertfail`, which prints the message with file, line, block
//! and thread and ends the kernel; the host gets an error at its next call.
//!
//! A tile's condition is judged over the elements that exist, each thread its own.

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_graph::{NodeId, Value};

impl Emit<'_> {
    pub(super) fn assertion(&mut self, node: NodeId, message: &str) -> Emission<()> {
        let value = self.g.inputs(node)[0];
        let registers = self.input(node, 0)?;
        let (yes, mut fails) = (self.t.int(Ty::I1, 1), self.t.int(Ty::I1, 0));
        for (r, &holds) in registers.iter().enumerate() {
            let exists = self.element_exists(node, value, r)?;
            let bad = self.t.int_op("xor", holds, yes);
            let bad = self.t.both(exists, Some(bad)).unwrap_or(bad);
            fails = self.t.int_op("or", fails, bad);
        }
        if self.t.known(fails) == Some(0) {
            return Ok(());
        }
        let said = if message.is_empty() { "an assertion does not hold" } else { message };
        let (file, line) = self.place(node);
        let texts = [said, &file, &self.g.name].map(|text| self.text_address(text));
        let [said, file, function] = texts;
        let (line, width) = (self.t.i32(line), self.t.i64(1));
        self.t.open_if(fails, &[]);
        self.t.effect(&format!(
            "llvm.call @__assertfail({said}, {file}, {line}, {function}, {width}) : (i64, i64, i32, i64, i64) -> ()"
        ));
        self.t.close_if(&[]);
        Ok(())
    }

    /// Whether the element of register `r` of a tile exists; `None`: always.
    fn element_exists(&mut self, node: NodeId, value: Value, r: usize) -> Emission<Option<V>> {
        let ty = self.g.type_of(value);
        if ty.is_scalar() {
            return Ok(None);
        }
        let layout = self.layout(value)?;
        let at = layout.register_offset(r);
        let mut all = None;
        for (dim, &axis) in ty.axes.iter().enumerate() {
            let exists = self.exists(node, &layout, dim, axis, at[dim])?;
            all = self.t.both(all, exists);
        }
        Ok(all)
    }

    /// File and line of a node, as far as the sources are known.
    fn place(&self, node: NodeId) -> (String, i64) {
        let span = self.g.node(node).span;
        match self.sources.and_then(|s| s.get(span.file)) {
            Some(file) => (file.name.clone(), file.line_column(span.start).0 as i64),
            None => ("kernel".into(), 0),
        }
    }

    /// The generic address of a text in the module's constants.
    fn text_address(&mut self, text: &str) -> V {
        let at = self.texts.iter().position(|t| t == text).unwrap_or_else(|| {
            self.texts.push(text.to_string());
            self.texts.len() - 1
        });
        let place = self.t.pure(format!("llvm.mlir.addressof @text{at} : !llvm.ptr<1>"), &[], Ty::Global);
        let generic = self.t.pure(
            format!("llvm.addrspacecast {place} : !llvm.ptr<1> to !llvm.ptr"),
            &[place],
            Ty::Generic,
        );
        self.t.pure(format!("llvm.ptrtoint {generic} : !llvm.ptr to i64"), &[generic], Ty::I64)
    }
}

/// The declarations that a module with assertions needs; of one without, nothing.
pub(super) fn declarations(texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "llvm.func @__assertfail(i64, i64, i32, i64, i64) attributes {sym_visibility = \"private\"} loc(#s0)\n",
    );
    for (n, text) in texts.iter().enumerate() {
        let bytes: String = text.bytes().chain([0]).map(|b| format!("\\{b:02X}")).collect();
        out += &format!(
            "llvm.mlir.global internal constant @text{n}(\"{bytes}\") {{addr_space = 1 : i32}} : !llvm.array<{} x i8> loc(#s0)\n",
            text.len() + 1
        );
    }
    out
}
