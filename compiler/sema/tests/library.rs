//! The files of the repository check clean, and every instance at which they are checked can be made.

mod support;

fn files() -> Vec<std::path::PathBuf> {
    let mut files = support::tile_files(&support::library());
    files.extend(support::tile_files(&support::root().join("dsl-examples")));
    assert!(files.len() > 10, "the library has more files");
    files
}

#[test]
fn the_files_of_the_repository_are_faultless() {
    let mut wrong = String::new();
    for file in files() {
        let loaded = support::load_file(&file);
        let found = tile_sema::check(&loaded.module);
        let shown = format!("{}{}", support::show(&loaded, &loaded.syntax), support::show(&loaded, &found));
        if !shown.is_empty() {
            wrong.push_str(&format!("{}\n{shown}", file.display()));
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn every_instance_has_a_text_form_and_closed_references() {
    for file in files() {
        let loaded = support::load_file(&file);
        let Some(tree) = loaded.module.main_file() else { continue };
        for item in &tree.items {
            let tile_syntax::ast::ItemKind::Kernel(k) = &item.kind else { continue };
            for instance in tile_sema::instances_of(&loaded.module, &k.name.name) {
                let typed = tile_sema::instantiate(&loaded.module, &k.name.name, &instance);
                let typed = typed.unwrap_or_else(|d| panic!("{}", support::show(&loaded, &d)));
                let text = typed.print();
                assert!(text.starts_with("kernel "), "{text}");
                assert!(!text.contains('?') || !text.contains("?%"), "a local without a name:\n{text}");
            }
        }
    }
}
