//! `docs/grammar.ebnf` as data: read, derived from, recognised by.
//!
//! [`Ebnf::derive`] makes random sentences (once its depth is spent, each choice takes the shortest way out),
//! [`Ebnf::derives`] recognises token lists by computing, for each rule and place, the set of places where it may
//! end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use tile_syntax::token::{Kind, classify};

#[derive(Debug, Clone)]
pub enum Node {
    Text(String),
    Token(String),
    Rule(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Optional(Box<Node>),
    Repeat(Box<Node>),
    /// Not beginning with this text.
    Except(Box<Node>, String),
}

pub struct Ebnf {
    pub rules: BTreeMap<String, Node>,
    /// Least depth of rules at which a rule can end.
    height: BTreeMap<String, usize>,
}

// ---------------------------------------------------------------- reading the page

fn words(page: &str) -> Vec<String> {
    let mut out = vec![];
    let mut rest = page.trim_start();
    while !rest.is_empty() {
        let len = if rest.starts_with("(*") {
            let end = rest.find("*)").expect("a comment ends") + 2;
            rest = rest[end..].trim_start();
            continue;
        } else if let Some(inside) = rest.strip_prefix('"') {
            inside.find('"').expect("a text ends") + 2
        } else {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()).max(1)
        };
        out.push(rest[..len].to_string());
        rest = rest[len..].trim_start();
    }
    out
}

struct Reader {
    words: Vec<String>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> &str {
        self.words.get(self.at).map_or("", |w| w)
    }

    fn take(&mut self) -> String {
        self.at += 1;
        self.words[self.at - 1].clone()
    }

    fn expect(&mut self, word: &str) {
        assert_eq!(self.take(), word, "in the grammar, word {}", self.at);
    }

    fn choice(&mut self) -> Node {
        let mut arms = vec![self.sequence()];
        while self.peek() == "|" {
            self.take();
            arms.push(self.sequence());
        }
        if arms.len() == 1 { arms.remove(0) } else { Node::Choice(arms) }
    }

    fn sequence(&mut self) -> Node {
        let mut parts = vec![];
        while !["|", ";", ")", "]", "}", ""].contains(&self.peek()) {
            let mut part = self.part();
            while self.peek() == "-" {
                self.take();
                part = Node::Except(Box::new(part), self.take().trim_matches('"').to_string());
            }
            parts.push(part);
        }
        Node::Sequence(parts)
    }

    fn part(&mut self) -> Node {
        let word = self.take();
        match word.as_str() {
            "(" => {
                let inner = self.choice();
                self.expect(")");
                inner
            }
            "[" => {
                let inner = self.choice();
                self.expect("]");
                Node::Optional(Box::new(inner))
            }
            "{" => {
                let inner = self.choice();
                self.expect("}");
                Node::Repeat(Box::new(inner))
            }
            w if w.starts_with('"') => Node::Text(w.trim_matches('"').to_string()),
            w if w.chars().all(|c| c.is_ascii_uppercase()) => Node::Token(w.to_string()),
            w => Node::Rule(w.to_string()),
        }
    }
}

impl Ebnf {
    pub fn read() -> Ebnf {
        let page = include_str!("../../../../docs/grammar.ebnf");
        let mut reader = Reader { words: words(page), at: 0 };
        let mut rules = BTreeMap::new();
        while !reader.peek().is_empty() {
            let name = reader.take();
            reader.expect("=");
            let node = reader.choice();
            reader.expect(";");
            assert!(rules.insert(name.clone(), node).is_none(), "two rules named {name}");
        }
        let mut ebnf = Ebnf { rules, height: BTreeMap::new() };
        loop {
            let higher: BTreeMap<String, usize> = ebnf
                .rules
                .iter()
                .filter_map(|(n, node)| ebnf.node_height(node).map(|h| (n.clone(), h + 1)))
                .collect();
            if higher == ebnf.height {
                break;
            }
            ebnf.height = higher;
        }
        for name in ebnf.rules.keys() {
            assert!(
                ebnf.height.contains_key(name),
                "the rule {name} has no finite sentence, or an unknown rule in it"
            );
        }
        ebnf
    }

    fn node_height(&self, node: &Node) -> Option<usize> {
        match node {
            Node::Text(_) | Node::Token(_) | Node::Optional(_) | Node::Repeat(_) => Some(0),
            Node::Rule(name) => self.height.get(name).copied(),
            Node::Sequence(parts) => {
                parts.iter().map(|p| self.node_height(p)).try_fold(0, |a, h| Some(a.max(h?)))
            }
            Node::Choice(arms) => arms.iter().filter_map(|a| self.node_height(a)).min(),
            Node::Except(inner, _) => self.node_height(inner),
        }
    }

    pub fn texts(&self) -> BTreeSet<String> {
        fn collect(node: &Node, out: &mut BTreeSet<String>) {
            match node {
                Node::Text(t) => {
                    out.insert(t.clone());
                }
                Node::Token(_) | Node::Rule(_) => {}
                Node::Sequence(all) | Node::Choice(all) => all.iter().for_each(|n| collect(n, out)),
                Node::Optional(n) | Node::Repeat(n) | Node::Except(n, _) => collect(n, out),
            }
        }
        let mut out = BTreeSet::new();
        self.rules.values().for_each(|n| collect(n, &mut out));
        out
    }

    // ------------------------------------------------------------ deriving

    pub fn derive(&self, node: &Node, depth: usize, rng: &mut Rng, out: &mut Vec<String>) {
        match node {
            Node::Text(t) => out.push(t.clone()),
            Node::Token(t) => out.push(rng.token(t)),
            Node::Rule(name) => self.derive(&self.rules[name], depth.saturating_sub(1), rng, out),
            Node::Sequence(parts) => parts.iter().for_each(|p| self.derive(p, depth, rng, out)),
            Node::Choice(arms) => {
                let mut fit: Vec<&Node> =
                    arms.iter().filter(|a| self.node_height(a).unwrap() <= depth).collect();
                if fit.is_empty() {
                    fit = vec![arms.iter().min_by_key(|a| self.node_height(a)).unwrap()];
                }
                self.derive(fit[rng.below(fit.len())], depth, rng, out);
            }
            Node::Optional(inner) => {
                if self.node_height(inner).unwrap() < depth && rng.below(3) == 0 {
                    self.derive(inner, depth, rng, out);
                }
            }
            Node::Repeat(inner) => {
                while self.node_height(inner).unwrap() < depth && out.len() < 150 && rng.below(4) == 0 {
                    self.derive(inner, depth, rng, out);
                }
            }
            Node::Except(inner, not) => loop {
                let mut part = vec![];
                self.derive(inner, depth, rng, &mut part);
                if part.first() != Some(not) {
                    out.append(&mut part);
                    return;
                }
            },
        }
    }

    // ------------------------------------------------------------ recognising

    pub fn derives(&self, rule: &str, tokens: &[String]) -> bool {
        let mut memo = HashMap::new();
        self.ends(&Node::Rule(rule.into()), 0, tokens, &mut memo).contains(&tokens.len())
    }

    fn ends<'a>(
        &'a self,
        node: &'a Node,
        at: usize,
        tokens: &[String],
        memo: &mut HashMap<(&'a str, usize), BTreeSet<usize>>,
    ) -> BTreeSet<usize> {
        let one = |fits: bool| if fits { BTreeSet::from([at + 1]) } else { BTreeSet::new() };
        match node {
            Node::Text(t) => one(tokens.get(at) == Some(t)),
            Node::Token(t) => one(tokens.get(at).is_some_and(|found| is_token(found, t))),
            Node::Rule(name) => {
                let (name, inner) = self.rules.get_key_value(name).unwrap();
                if let Some(known) = memo.get(&(name.as_str(), at)) {
                    return known.clone();
                }
                let found = self.ends(inner, at, tokens, memo);
                memo.insert((name, at), found.clone());
                found
            }
            Node::Sequence(parts) => parts.iter().fold(BTreeSet::from([at]), |starts, part| {
                starts.into_iter().flat_map(|s| self.ends(part, s, tokens, memo)).collect()
            }),
            Node::Choice(arms) => arms.iter().flat_map(|a| self.ends(a, at, tokens, memo)).collect(),
            Node::Optional(inner) => {
                let mut found = self.ends(inner, at, tokens, memo);
                found.insert(at);
                found
            }
            Node::Repeat(inner) => {
                let mut found = BTreeSet::from([at]);
                let mut open = vec![at];
                while let Some(start) = open.pop() {
                    for end in self.ends(inner, start, tokens, memo) {
                        if found.insert(end) {
                            open.push(end);
                        }
                    }
                }
                found
            }
            Node::Except(inner, not) if tokens.get(at) != Some(not) => self.ends(inner, at, tokens, memo),
            Node::Except(..) => BTreeSet::new(),
        }
    }
}

fn is_token(text: &str, token: &str) -> bool {
    let letter = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    let float = digit && !text.starts_with("0x") && !text.starts_with("0b") && text.contains(['.', 'e']);
    match token {
        "NAME" => letter && classify(text) == Kind::Name,
        "DTYPE" => letter && classify(text) == Kind::Dtype,
        "WORD" => letter && text != "_",
        "INT" => digit && !float,
        "FLOAT" => float,
        "STRING" => text.starts_with('"'),
        "LABEL" => text.starts_with('\''),
        "DOC" => text.starts_with("///"),
        other => panic!("the grammar names an unknown token {other}"),
    }
}

// ---------------------------------------------------------------- chance

/// SplitMix64: the same sentences in every run.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick(&mut self, all: &[&str]) -> String {
        all[self.below(all.len())].to_string()
    }

    fn token(&mut self, token: &str) -> String {
        match token {
            "NAME" => self.pick(&["x", "acc", "M", "T", "qi", "online", "skip", "sum", "id", "rel", "i"]),
            "DTYPE" => self.pick(&["f32", "bf16", "index", "bool"]),
            "WORD" => self.pick(&["t", "sum", "merge", "f16", "tile", "start", "in"]),
            "INT" => self.pick(&["0", "1", "65_536", "0x1f", "0b1_01"]),
            "FLOAT" => self.pick(&["0.5", "2e-3", "1.0e5"]),
            "STRING" => self.pick(&["\"\"", "\"a \\\"b\\\" // c\"", "\"ex2 $0;\""]),
            "LABEL" => self.pick(&["'kv", "'a"]),
            "DOC" => self.pick(&["/// a\n", "///\n"]),
            other => panic!("the grammar names an unknown token {other}"),
        }
    }
}

pub fn join(tokens: &[String]) -> String {
    tokens.join(" ")
}

/// A random item as tokens.
pub fn sentence(ebnf: &Ebnf, depth: usize, rng: &mut Rng) -> Vec<String> {
    let mut tokens = vec![];
    ebnf.derive(&ebnf.rules["item"], depth, rng, &mut tokens);
    tokens
}
