//! Kernels of the library with the arguments of a caller who is wrong: lengths that disagree, ids out of range, offsets that
//! fall, page tables that point outside, more chosen than there are, no experts, empty sequences, groups that do not divide.
//! What the host can see is refused by name before the launch; what is no error is computed.

mod common;

use common::{Folder, Output, root};
use tile_base::DType;
use tile_tensor::{Tensor, write_npy};

struct Call {
    folder: Folder,
    args: Vec<String>,
}

/// A kernel of the library; inputs that are not given are random.
fn call(file: &str, words: &str) -> Call {
    let file = root().join("kernels-lib").join(file).to_str().unwrap().to_string();
    let mut args = vec!["run".to_string(), file, "--random".into(), "1".into()];
    args.extend(words.split_whitespace().map(String::from));
    Call { folder: Folder::new(), args }
}

impl Call {
    fn tensor(mut self, name: &str, tensor: &Tensor) -> Call {
        let path = self.folder.path(&format!("{name}.npy"));
        write_npy(&path, tensor).unwrap();
        self.args.extend(["--in".to_string(), format!("{name}={path}")]);
        self
    }

    fn ints(self, name: &str, shape: &[usize], values: &[i32]) -> Call {
        self.tensor(name, &Tensor::from_i32(shape, values))
    }

    fn zeros(self, name: &str, dtype: DType, shape: &[usize]) -> Call {
        self.tensor(name, &Tensor::zeros(dtype, shape))
    }

    fn run(&self, device: &str) -> Output {
        let mut args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        args.extend(["--device", device]);
        self.folder.run(&args)
    }

    /// Refused on every device, with a message that names the tensor, dimension or fact.
    #[track_caller]
    fn refused(self, code: &str, name: &str) {
        for device in ["cpu", "sim"] {
            let said = self.run(device).refused(code);
            assert!(said.contains(name), "{device}: `{name}` is not named:\n{said}");
        }
    }

    /// Computed on every device, with equal results as far as what is printed goes.
    #[track_caller]
    fn computed(self) {
        for device in ["oracle", "cpu", "sim"] {
            self.run(device).good();
        }
    }
}

const VARLEN: &str = "--kernel flash_varlen --const T=f32 --const D=16 --const DV=16 --dim M=9 --dim N=12 --dim HQ=2 --dim HK=1";
const PAGED: &str = "--kernel paged_decode --const T=f32 --const D=16 --const DV=16 --const P=4 --const GR=2 --dim HQ=4 --dim HK=2 --dim NP=5";

#[test]
fn lengths_that_disagree() {
    let varlen = || call("attention/flash_varlen.tile", VARLEN);
    varlen().ints("cu_q", &[3], &[0, 4, 9]).ints("cu_k", &[4], &[0, 4, 9, 12]).refused("T0814", "B");
    varlen().ints("cu_q", &[3], &[0, 4, 8]).ints("cu_k", &[3], &[0, 4, 12]).refused("T0824", "cu_q");
    let paged = || call("attention/paged_decode.tile", PAGED);
    paged().ints("table", &[2, 3], &[0; 6]).ints("len", &[3], &[1; 3]).refused("T0814", "B");
    paged().ints("table", &[2, 3], &[0; 6]).ints("len", &[2], &[1, 13]).refused("T0825", "len");
    paged().ints("table", &[2, 3], &[0; 6]).ints("len", &[2], &[-1, 1]).refused("T0825", "len");
    paged()
        .zeros("k_pages", DType::F32, &[5, 3, 2, 16])
        .ints("table", &[1, 1], &[0])
        .refused("T0815", "k_pages");
}

#[test]
fn ids_and_pages_out_of_range() {
    let gather = || call("moe/gather_rows.tile", "--const T=f32 --dim N=6 --dim D=8");
    gather().ints("src", &[3], &[0, 6, 1]).refused("T0823", "src");
    gather().ints("src", &[3], &[0, -2, 1]).refused("T0823", "src");
    gather().ints("src", &[3], &[0, -1, i32::MAX]).refused("T0823", "src");
    gather().ints("src", &[3], &[5, -1, 0]).computed();
    let paged = || call("attention/paged_decode.tile", PAGED).ints("len", &[2], &[12, 5]);
    paged().ints("table", &[2, 3], &[0, 1, 5, 0, 1, 2]).refused("T0823", "table");
    paged().ints("table", &[2, 3], &[0, 1, -7, 0, 1, 2]).refused("T0823", "table");
    // A page that is none within the length: its tokens are not seen.
    paged().ints("table", &[2, 3], &[0, -1, 4, 3, 1, -1]).computed();
    let sparse = "--const T=f32 --const D=16 --const BS=4 --dim B=1 --dim M=8 --dim N=10 --dim HQ=2 --dim HK=1 --dim S=2";
    let sparse = || call("sparse/block_sparse.tile", sparse);
    sparse().ints("ids", &[1, 1, 2, 2], &[0, 3, 1, 2]).refused("T0823", "ids");
    sparse().ints("ids", &[1, 1, 2, 2], &[2, -1, -1, -1]).computed();
    let grouped = || {
        call("moe/grouped_matmul.tile", "--const T=f32 --const BS=4 --dim R=10 --dim K=8 --dim E=3 --dim N=8")
    };
    grouped().ints("expert", &[3], &[0, 3, 1]).refused("T0823", "expert");
    let append =
        "--kernel kv_append --const T=f32 --const HR=4 --dim HK=1 --dim P=9 --dim NS=8 --arg eps=0.1";
    let append = || call("rope/kv_append.tile", append);
    append().ints("pos", &[2], &[3, 9]).ints("slot", &[2], &[0, 1]).refused("T0823", "pos");
    append().ints("pos", &[2], &[3, 4]).ints("slot", &[2], &[0, 8]).refused("T0823", "slot");
    // Two tokens in one place of the cache.
    append().ints("pos", &[2], &[3, 4]).ints("slot", &[2], &[5, 5]).refused("T0848", "slot");
}

#[test]
fn offsets_that_are_none() {
    let ragged = || call("moe/ragged_matmul.tile", "--const T=f32 --dim R=10 --dim K=8 --dim N=8");
    for off in [[0, 6, 4, 10], [1, 4, 6, 10], [0, 4, 6, 9], [0, 4, 11, 10], [0, -1, 4, 10]] {
        ragged().ints("off", &[4], &off).refused("T0824", "off");
    }
    // Experts without a row at the ends and in the middle; the same of sequences without a token.
    ragged().ints("off", &[6], &[0, 0, 4, 4, 10, 10]).computed();
    let gla = "--const T=f32 --const K=8 --const V=8 --dim L=9 --dim H=1";
    call("linear/simple_gla.tile", gla).ints("cu", &[5], &[0, 0, 5, 5, 9]).computed();
    call("linear/simple_gla.tile", gla).ints("cu", &[4], &[0, 5, 3, 9]).refused("T0824", "cu");
    let varlen = || call("attention/flash_varlen.tile", VARLEN);
    varlen().ints("cu_q", &[4], &[0, 0, 9, 9]).ints("cu_k", &[4], &[0, 3, 3, 12]).computed();
}

#[test]
fn more_than_there_are() {
    call("moe/router_softmax.tile", "--const E=4 --const TOPK=5 --dim N=3").refused("T0213", "TOPK <= E");
    let sigmoid =
        |kg: u32, k: u32| format!("--const G=2 --const EG=2 --const KG={kg} --const TOPK={k} --dim N=3");
    call("moe/router_sigmoid.tile", &sigmoid(3, 2)).refused("T0213", "KG <= G");
    call("moe/router_sigmoid.tile", &sigmoid(1, 3)).refused("T0213", "TOPK <= KG * EG");
    call(
        "moe/moe.tile",
        "--kernel moe --const T=f32 --const E=2 --const TOPK=3 --dim N=3 --dim DM=8 --dim F=8",
    )
    .refused("T0213", "TOPK <= E");
    call("sample/top_k.tile", "--const T=f32 --const K=8 --dim M=2 --dim V=7").refused("T0817", "K");
    call("sparse/select_blocks.tile", "--const CAP=4 --const S=2 --dim B=1 --dim HK=1 --dim NB=5")
        .refused("T0817", "NB");
    // More places than blocks: those left over say -1.
    call("sparse/select_blocks.tile", "--const CAP=8 --const S=6 --dim B=1 --dim HK=1 --dim NB=3").computed();
}

#[test]
fn nothing_at_all() {
    call("moe/router_softmax.tile", "--const E=0 --const TOPK=0 --dim N=3").refused("T0818", "logits");
    let ragged = || call("moe/ragged_matmul.tile", "--const T=f32 --dim R=10 --dim K=8 --dim N=8");
    ragged().ints("off", &[1], &[0]).refused("T0818", "E");
    ragged().zeros("w", DType::F32, &[0, 8, 8]).refused("T0818", "E");
    call(
        "moe/moe.tile",
        "--kernel moe --const T=f32 --const E=0 --const TOPK=0 --dim N=3 --dim DM=8 --dim F=8",
    )
    .refused("T0818", "logits");
    let flash = "--const T=f32 --const D=16 --dim HQ=2 --dim HK=1";
    call("attention/flash_fwd.tile", &format!("{flash} --dim B=0 --dim M=3 --dim N=3")).refused("T0818", "B");
    call("attention/flash_fwd.tile", &format!("{flash} --dim B=1 --dim M=3 --dim N=0")).refused("T0818", "N");
    call("attention/flash_varlen.tile", VARLEN)
        .ints("cu_q", &[1], &[0])
        .ints("cu_k", &[1], &[0])
        .refused("T0818", "B");
    call("linear/simple_gla.tile", "--const T=f32 --const K=8 --const V=8 --dim L=0 --dim H=1 --dim NS=1")
        .refused("T0818", "L");
}

#[test]
fn groups_that_do_not_divide() {
    let heads = "--dim B=1 --dim M=3 --dim N=3 --dim HQ=5 --dim HK=2 --const T=f32 --const D=16";
    call("attention/flash_fwd.tile", heads).refused("T0817", "HQ % HK");
    call("attention/flash_mods.tile", &format!("{heads} --const DV=16")).refused("T0817", "HQ % HK");
    let paged = PAGED.replace("HQ=4", "HQ=5");
    call("attention/paged_decode.tile", &paged)
        .ints("len", &[1], &[3])
        .ints("table", &[1, 1], &[0])
        .refused("T0817", "HQ");
    // A last group that is shorter has a scale of its own; one scale too few is none.
    let w4a16 = "--const T=f32 --const GS=32 --dim M=3 --dim N=5 --dim K=70";
    call("gemm/w4a16.tile", w4a16).computed();
    call("gemm/w4a16.tile", w4a16).zeros("scale", DType::F32, &[5, 2]).refused("T0814", "scale");
}
