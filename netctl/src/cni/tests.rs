//! Tests of installing: what is written, what is left alone.

use super::*;

fn wish(dir: &Path) -> Install {
    let plugin = dir.join("built");
    fs::write(&plugin, b"\x7fELF netd-cni: the CNI plugin of netd").unwrap();
    Install {
        places: Places { bin_dir: dir.join("bin"), conf_dir: dir.join("net.d") },
        network: "default".parse().unwrap(),
        cni_version: None,
        plugin: Some(plugin),
        force: false,
    }
}

fn written(wish: &Install) -> Value {
    serde_json::from_slice(&fs::read(wish.places.conf_dir.join(CONFLIST)).unwrap()).unwrap()
}

#[test]
fn an_installation_is_a_binary_that_can_be_run_and_one_list_for_old_and_new_runtimes() {
    let dir = tempfile::tempdir().unwrap();
    let wish = wish(dir.path());
    install(&wish).unwrap();
    let mode = fs::metadata(wish.places.bin_dir.join(PLUGIN)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let list = written(&wish);
    assert_eq!((&list["name"], &list["cniVersion"]), (&json!("netd"), &json!("1.0.0")));
    assert_eq!(list["cniVersions"], json!(["0.4.0", "1.0.0", "1.1.0"]));
    assert_eq!(list["plugins"][0]["network"], "default");
    let left: Vec<_> = fs::read_dir(&wish.places.conf_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [CONFLIST], "no draft is left");
}

#[test]
fn a_version_that_is_asked_for_is_the_only_one_and_a_network_gives_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let wish = Install { cni_version: Some("0.4.0".to_owned()), network: "lan".parse().unwrap(), ..wish(dir.path()) };
    install(&wish).unwrap();
    let list = written(&wish);
    assert_eq!((&list["cniVersion"], list.get("cniVersions"), &list["name"]), (&json!("0.4.0"), None, &json!("lan")));
}

#[test]
fn installing_twice_replaces_what_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    let first = wish(dir.path());
    install(&first).unwrap();
    let second = Install { network: "lan".parse().unwrap(), ..first };
    install(&second).unwrap();
    assert_eq!(written(&second)["name"], "lan");
}

#[test]
fn a_list_of_somebody_else_stays_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    let wish = wish(dir.path());
    fs::create_dir_all(&wish.places.conf_dir).unwrap();
    let conflist = wish.places.conf_dir.join(CONFLIST);
    for foreign in [r#"{"plugins":[{"type":"bridge"}]}"#, "no JSON"] {
        fs::write(&conflist, foreign).unwrap();
        let refused = install(&wish).unwrap_err();
        assert!(refused.what.ends_with("it is there and is not netd's"), "{refused}");
        assert_eq!(fs::read_to_string(&conflist).unwrap(), foreign);
        assert!(!wish.places.bin_dir.exists(), "nothing is written before it is known that all can be");
    }
    install(&Install { force: true, ..wish.clone() }).unwrap();
    assert_eq!(written(&wish)["plugins"][0]["type"], PLUGIN);
}

#[test]
fn removal_takes_what_is_ours_and_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let wish = wish(dir.path());
    install(&wish).unwrap();
    let neighbour = wish.places.conf_dir.join("87-podman.conflist");
    fs::write(&neighbour, "{}").unwrap();
    let done = uninstall(&wish.places).unwrap();
    assert_eq!(done.json["removed"].as_array().map(Vec::len), Some(2));
    assert!(neighbour.exists() && !wish.places.bin_dir.join(PLUGIN).exists());
    assert_eq!(uninstall(&wish.places).unwrap().json, json!({ "removed": [], "kept": [] }), "twice is no failure");

    fs::write(wish.places.conf_dir.join(CONFLIST), r#"{"plugins":[{"type":"bridge"}]}"#).unwrap();
    fs::write(wish.places.bin_dir.join(PLUGIN), "#!/bin/sh").unwrap();
    let done = uninstall(&wish.places).unwrap();
    assert_eq!((done.notes.len(), &done.json["removed"]), (2, &json!([])));
    assert!(wish.places.bin_dir.join(PLUGIN).exists());
}

#[test]
fn a_plugin_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let wish = Install { plugin: Some(dir.path().join("nowhere")), ..wish(dir.path()) };
    let refused = install(&wish).unwrap_err();
    assert!(refused.what.starts_with("could not read ") && refused.what.contains("nowhere"), "{refused}");
}
