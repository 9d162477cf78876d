//! Each version of the stored form, as its golden file has it, and the way from one to the next. Makes no kernel objects.

use super::*;

/// One record of each kind and variant of version 1.
fn samples_of_version_1() -> Vec<Edit> {
    let mut samples: Vec<Edit> = (0..4).map(|flavour| Edit::Network { before: None, after: Some(network(flavour, flavour)) }).collect();
    samples.extend(
        [(1, true), (2, false)].map(|(number, made)| Edit::Container { before: None, after: Some(container(number, number, made)) }),
    );
    samples.extend((0..3).map(|flavour| Edit::Publish {
        container: format!("c{}", 1 + flavour % 2).parse().expect("an id"),
        before: None,
        after: Some(published(flavour, flavour)),
    }));
    samples.extend((0..2).map(|number| Edit::Original { sysctl: sysctl(number), before: None, after: Some("0".to_owned()) }));
    samples
}

/// And of version 2.
fn samples_of_version_2() -> Vec<Edit> {
    let mut samples = samples_of_version_1();
    samples.extend((0..4).map(|flavour| Edit::Network { before: None, after: Some(inline(4 + flavour, flavour)) }));
    samples.extend([(3, 1), (4, 2)].map(|(number, flavour)| Edit::Container { before: None, after: Some(attached(number, flavour)) }));
    samples.push(Edit::Publish { container: attached(3, 1).id.clone(), before: None, after: Some(published(3, 1)) });
    samples
}

/// And of version 3.
fn samples() -> Vec<Edit> {
    let mut samples = samples_of_version_2();
    samples.extend([(5, true), (6, false)].map(|(number, made)| Edit::Container { before: None, after: Some(guarded(number, made)) }));
    samples.extend((0..2).map(|number| Edit::Policy {
        name: policy(number, 1).name.clone(),
        before: None,
        after: Some(policy(number, 1)),
    }));
    let (namespace, labels) = namespace(1, 1);
    samples.push(Edit::Namespace { namespace, before: None, after: Some(labels) });
    samples
}

/// Records by file and table, and by key.
type Golden = BTreeMap<String, BTreeMap<String, serde_json::Value>>;

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

#[track_caller]
fn read_as(golden: &str, samples: &[Edit]) {
    let golden: Golden = serde_json::from_str(golden).expect("JSON");
    let mut found = Desired::default();
    for table in Table::ALL {
        for records in ["durable", "boot"].iter().filter_map(|home| golden.get(&format!("{home} {table}"))) {
            for (key, value) in records {
                let edit = decode(table, key, value.to_string().as_bytes()).expect("a record");
                apply(&mut found, &[edit]);
            }
        }
    }
    let mut wanted = Desired::default();
    apply(&mut wanted, samples);
    assert_eq!(found, wanted);
}

#[test]
fn records_of_version_1_are_read_as_ever() {
    read_as(&fs::read_to_string(golden("store-v1.json")).expect("the golden file"), &samples_of_version_1());
}

#[test]
fn records_of_version_2_are_read_as_ever() {
    read_as(&fs::read_to_string(golden("store-v2.json")).expect("the golden file"), &samples_of_version_2());
}

#[test]
fn records_of_version_3_are_written_and_read_as_ever() {
    let dir = directory();
    let (mut store, _) = store(dir.path()).expect("new files");
    store.commit(&samples()).expect("it commits");
    let mut written = Golden::new();
    for (database, home) in [(&store.durable, "durable"), (&store.boot, "boot")] {
        database
            .read(|table, key, value| {
                written.entry(format!("{home} {table}")).or_default().insert(key.to_owned(), serde_json::from_slice(value).expect("JSON"));
                Ok(())
            })
            .expect("it reads");
    }
    let text = serde_json::to_string_pretty(&written).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden("store-v3.json"), &text).expect("the golden file");
    }
    let known = fs::read_to_string(golden("store-v3.json")).expect("the golden file");
    assert_eq!(text, known, "the stored form changed: raise the schema's number and read the old one too, or UPDATE_GOLDEN=1");
    read_as(&known, &samples());
}

const META: redb::TableDefinition<'_, &str, &str> = redb::TableDefinition::new("meta");

/// Says that a file is of another schema.
pub(super) fn mark(path: &Path, schema: &str) {
    let redb = redb::Database::open(path).expect("redb opens it");
    let transaction = redb.begin_write().expect("a transaction");
    transaction.open_table(META).expect("a table").insert("schema", schema).expect("an insert");
    transaction.commit().expect("a commit");
}

fn schema_of(path: &Path) -> String {
    let redb = redb::Database::open(path).expect("redb opens it");
    let table = redb::ReadableDatabase::begin_read(&redb).expect("a transaction").open_table(META).expect("a table");
    table.get("schema").expect("it reads").expect("a schema").value().to_owned()
}

/// What a file of an older version has no tables for is taken out.
fn without_tables(path: &Path, names: &[&str]) {
    let redb = redb::Database::open(path).expect("redb opens it");
    let transaction = redb.begin_write().expect("a transaction");
    for name in names {
        let table = redb::TableDefinition::<'_, &str, &[u8]>::new(name);
        assert!(transaction.delete_table(table).expect("a table"), "{name}");
    }
    transaction.commit().expect("a commit");
}

#[test]
fn files_of_older_versions_are_taken_over_and_become_version_3_with_the_first_write() {
    for (older, samples) in [("1", samples_of_version_1()), ("2", samples_of_version_2())] {
        let dir = directory();
        let files = ["lib", "run"].map(|part| dir.path().join(part).join(FILE));
        let (mut first, mut desired) = store(dir.path()).expect("new files");
        first.commit(&samples).expect("it commits");
        apply(&mut desired, &samples);
        drop(first);
        for path in &files {
            without_tables(path, &["policies", "namespaces"]);
            mark(path, older);
        }

        let (untouched, found) = store(dir.path()).expect("an older file opens");
        assert_eq!(found, desired);
        drop(untouched);
        assert_eq!(files.each_ref().map(|path| schema_of(path)), [older, older], "an older netd can go on with it");

        let (mut store_now, _) = store(dir.path()).expect("it opens");
        let change = vec![Edit::Container { before: None, after: Some(attached(7, 1)) }];
        store_now.commit(&change).expect("it commits");
        apply(&mut desired, &change);
        drop(store_now);
        assert_eq!(files.each_ref().map(|path| schema_of(path)), [older, "3"], "each with its first write");

        let (mut store_now, found) = store(dir.path()).expect("it opens");
        assert_eq!(found, desired);
        let change = vec![Edit::Policy { name: policy(0, 1).name.clone(), before: None, after: Some(policy(0, 1)) }];
        store_now.commit(&change).expect("it commits");
        apply(&mut desired, &change);
        drop(store_now);
        assert_eq!(files.each_ref().map(|path| schema_of(path)), ["3", "3"]);
        assert_eq!(store(dir.path()).expect("it opens").1, desired);
    }
}
