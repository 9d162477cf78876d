//! Which files are read, in which order, and the words where one cannot be.

use super::*;

fn wish(files: &[&Path]) -> Apply {
    Apply { files: files.iter().map(|path| (*path).to_owned()).collect(), dry_run: false, skip_other_kinds: false }
}

/// The names without the folder, and the texts.
fn read_names(wish: &Apply, stdin: &[u8], folder: &Path) -> Vec<(String, String)> {
    let files = read(wish, stdin).unwrap_or_else(|failure| panic!("{failure}"));
    let short = |name: &str| name.replace(&format!("{}/", folder.display()), "");
    files.files.into_iter().map(|file| (short(&file.name), file.text)).collect()
}

fn refused(wish: &Apply, stdin: impl Read) -> String {
    let failure = read(wish, stdin).expect_err("it should have been refused");
    assert_eq!(failure.status, FAILED);
    failure.to_string()
}

#[test]
fn files_are_read_in_the_order_given_and_those_of_a_directory_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    fs::create_dir_all(policies.join("below.yaml")).unwrap();
    for (name, text) in
        [("20.yml", "b"), ("10.yaml", "a"), ("30.json", "{}"), (".hidden.yaml", "x"), ("README.md", "x"), ("yaml", "x"), ("40.yaml~", "x")]
    {
        fs::write(policies.join(name), text).unwrap();
    }
    fs::write(policies.join("below.yaml/50.yaml"), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", policies.join(".#10.yaml")).unwrap();
    let single = folder.path().join("any.txt");
    fs::write(&single, "c\r\nä\n").unwrap();
    let read = read_names(&wish(&[&single, Path::new("-"), &policies]), b"kind: List\n", folder.path());
    let expected =
        [("any.txt", "c\r\nä\n"), ("-", "kind: List\n"), ("policies/10.yaml", "a"), ("policies/20.yml", "b"), ("policies/30.json", "{}")];
    assert_eq!(read, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn how_it_is_to_be_done_goes_along() {
    let meant = Apply { dry_run: true, skip_other_kinds: true, ..wish(&[Path::new("-")]) };
    let files = read(&meant, &b""[..]).unwrap();
    assert!(files.dry_run && files.skip_other_kinds);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");
    let told = refused(&wish(&[&missing]), io::empty());
    assert_eq!(told, format!("error: could not read {}: No such file or directory (os error 2)", missing.display()));
    fs::create_dir(folder.path().join("empty")).unwrap();
    let told = refused(&wish(&[&folder.path().join("empty")]), io::empty());
    assert!(told.contains("/empty: the directory has no *.yaml, *.yml or *.json\nhint: directories below"), "{told}");
    std::os::unix::fs::symlink("nowhere", folder.path().join("broken.yaml")).unwrap();
    let told = refused(&wish(&[folder.path()]), io::empty());
    assert!(told.contains("/broken.yaml: No such file"), "{told}");
}

#[test]
fn what_is_no_text_is_refused_with_its_place() {
    let told = refused(&wish(&[Path::new("-")]), &b"kind: \xff"[..]);
    assert_eq!(told, "error: could not read -: it is no text, byte 6 is not UTF-8\nhint: save it as UTF-8");
}

#[test]
fn what_is_too_large_is_refused_and_endless_files_end() {
    let told = refused(&wish(&[Path::new("-")]), io::repeat(b'x'));
    assert_eq!(told, "error: could not read -: it is larger than 16 MiB\nhint: split it, and apply the parts one after the other");
    // Each of its bytes takes two as JSON.
    let told = refused(&wish(&[Path::new("-")]), io::repeat(b'\n').take(FILES_MOST as u64 / 2));
    assert!(told.starts_with("error: could not read -: it is larger than 16 MiB\n"), "{told}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("half.yaml");
    fs::write(&file, "x".repeat(FILES_MOST / 2)).unwrap();
    let told = refused(&wish(&[&file, &file]), io::empty());
    assert_eq!(told, "error: could not apply the 2 files: together they are larger than 16 MiB\nhint: apply them in several calls");
    assert_eq!(read_names(&wish(&[&file]), b"", folder.path()).len(), 1);
}
