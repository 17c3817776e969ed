//! What the watches showed last: the executions, packed, and what is kept of their children. No I/O.
//!
//! A kube-runtime store keeps the name, namespace, uid and version of each object a second time, in its key, and a second copy
//! of everything while a list is read. Here a key is 16 bytes, and a list is taken over as it comes; what it does not
//! show is dropped at its end.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{core::ApiResource, runtime::watcher::Event};

use super::{child::Entry, execution::Execution, key::Key, packed::Packed};

/// What one watch showed.
#[derive(Debug)]
struct Table<K, V> {
    /// Each with the number of the list that it was last shown in or after.
    known: HashMap<K, (u32, V)>,
    lists: u32,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new(), lists: 0 }
    }
}

impl<K: Eq + Hash, V> Table<K, V> {
    /// Takes over what the watch shows.
    fn apply<T>(&mut self, event: &Event<T>, key: impl Fn(&T) -> K, value: impl Fn(&T) -> V) {
        match event {
            Event::Init => self.lists = self.lists.wrapping_add(1),
            Event::InitApply(object) | Event::Apply(object) => {
                self.known.insert(key(object), (self.lists, value(object)));
            }
            Event::InitDone => {
                self.known.retain(|_, (list, _)| *list == self.lists);
                self.known.shrink_to_fit();
            }
            Event::Delete(object) => {
                self.known.remove(&key(object));
            }
        }
    }
}

/// The executions.
#[derive(Debug, Default)]
pub struct Executions {
    table: Mutex<Table<Key, Packed>>,
}

impl Executions {
    /// Takes over what its watch shows.
    pub fn apply(&self, event: &Event<Arc<Execution>>) {
        lock(&self.table).apply(event, |execution| execution.key(), |execution| Packed::of(execution));
    }

    /// The execution, if there is one of that key.
    pub fn get(&self, key: Key) -> Option<Execution> {
        lock(&self.table).known.get(&key)?.1.unpack()
    }

    /// Whether there is one of that key.
    pub fn knows(&self, key: Key) -> bool {
        lock(&self.table).known.contains_key(&key)
    }

    /// All there are.
    pub fn keys(&self) -> Vec<Key> {
        lock(&self.table).known.keys().copied().collect()
    }
}

/// A child and where it lies.
#[derive(Debug)]
pub struct Placed {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What is kept of it.
    pub entry: Arc<Entry>,
}

/// A hash of a child's namespace and name, and of the execution that it was made for: nothing keeps two objects from
/// claiming the same execution, and the texts need not be kept. The seeds of its halves are this process's own, so that
/// nobody can make two children that have the same one.
type ChildKey = [u64; 2];

/// The children of one kind.
#[derive(Debug, Default)]
pub struct Kind {
    table: Mutex<Table<ChildKey, Arc<Entry>>>,
    seeds: [RandomState; 2],
}

impl Kind {
    /// Takes over what its watch shows.
    pub fn apply(&self, event: &Event<Placed>) {
        let key = |Placed { namespace, name, entry }: &Placed| self.key(entry.execution, namespace, name);
        lock(&self.table).apply(event, key, |placed| Arc::clone(&placed.entry));
    }

    /// The child of that name that was made for an execution.
    pub fn get(&self, execution: Key, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        let key = self.key(execution, namespace, name);
        lock(&self.table).known.get(&key).map(|(_, entry)| Arc::clone(entry))
    }

    fn key(&self, execution: Key, namespace: &str, name: &str) -> ChildKey {
        self.seeds.each_ref().map(|seed| seed.hash_one((execution, namespace, name)))
    }
}

/// The children of every kind.
#[derive(Debug, Default)]
pub struct Children {
    by_plural: BTreeMap<String, Arc<Kind>>,
}

impl Children {
    /// The place for the children of a kind, which there is from then on.
    pub fn kind(&mut self, plural: &str) -> Arc<Kind> {
        Arc::clone(self.by_plural.entry(plural.to_owned()).or_default())
    }

    /// The child of that kind and name that was made for an execution.
    pub fn get(&self, kind: &ApiResource, execution: Key, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.by_plural.get(&kind.plural)?.get(execution, namespace, name)
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use std::{collections::BTreeMap, sync::Arc};

    use kube::core::ObjectMeta;

    use super::{Entry, Event, Execution, Executions, Key, Kind, Placed};
    use crate::runners::{Registry, Settings};

    fn execution(name: u8, version: u64) -> Arc<Execution> {
        let name = name.to_string();
        let object = json!({"metadata": {"name": name, "uid": name, "resourceVersion": version.to_string()}, "spec": {}});
        Arc::new(serde_json::from_str(&object.to_string()).unwrap())
    }

    fn child(namespace: &str, uid: &str) -> Placed {
        let metadata = json!({
            "uid": uid,
            "labels": {"core.projectvoltron.dev/execution-uid": "u", "core.projectvoltron.dev/runner": "argo-workflow"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "RunnerExecution", "name": "x", "uid": "u"}],
        });
        let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
        let entry = Entry::read(&metadata, &json!({}), &Registry::built_in(&Settings::default())).unwrap();
        Placed { namespace: namespace.into(), name: "x".into(), entry: Arc::new(entry) }
    }

    #[test]
    fn what_another_namespace_claims_to_be_a_child_takes_no_childs_place() {
        let (children, key) = (Kind::default(), Key::of("u"));
        children.apply(&Event::Apply(child("mine", "1")));
        children.apply(&Event::Apply(child("theirs", "2")));
        assert_eq!(&*children.get(key, "mine", "x").unwrap().uid, "1");
        children.apply(&Event::Delete(child("theirs", "2")));
        assert!(children.get(key, "mine", "x").is_some() && children.get(key, "theirs", "x").is_none());
    }

    /// One thing that happens to the objects that are there, by name and version.
    #[derive(Clone, Debug)]
    enum Happens {
        Apply(u8),
        Delete(u8),
        /// While nothing was heard, these came and those went; then all are listed.
        Missed {
            came: Vec<u8>,
            went: Vec<u8>,
        },
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let some = || prop::collection::vec(0..6_u8, 0..4);
        prop_oneof![
            (0..6_u8).prop_map(Happens::Apply),
            (0..6_u8).prop_map(Happens::Delete),
            (some(), some()).prop_map(|(came, went)| Happens::Missed { came, went }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_known_is_what_there_is_whatever_was_missed_before_a_list(all in prop::collection::vec(happens(), 0..30)) {
            let (known, mut there, mut version) = (Executions::default(), BTreeMap::new(), 0);
            for it in all {
                version += 1;
                match it {
                    Happens::Apply(name) => {
                        there.insert(name, version);
                        known.apply(&Event::Apply(execution(name, version)));
                    }
                    Happens::Delete(name) => {
                        there.remove(&name);
                        known.apply(&Event::Delete(execution(name, version)));
                    }
                    Happens::Missed { came, went } => {
                        there.extend(came.into_iter().map(|name| (name, version)));
                        there.retain(|name, _| !went.contains(name));
                        known.apply(&Event::Init);
                        for (name, version) in &there {
                            known.apply(&Event::InitApply(execution(*name, *version)));
                        }
                        known.apply(&Event::InitDone);
                    }
                }
                prop_assert_eq!(known.keys().len(), there.len());
                for (name, version) in &there {
                    let known = known.get(Key::of(&name.to_string())).unwrap();
                    prop_assert!(known.name() == name.to_string() && known.version() == *version);
                }
            }
        }
    }
}
