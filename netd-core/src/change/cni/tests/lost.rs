//! Containers that their runtime lost without DEL: what they had does not keep others from having it.

use super::*;

fn give_up(world: &mut World, wanted: Value) -> Change {
    let Request::CniAdd(add) = add(wanted) else { unreachable!("it is an ADD") };
    let change = super::give_up(&world.desired, &add);
    world.desired.apply(&change);
    change
}

#[test]
fn a_port_of_a_container_whose_namespace_has_gone_is_free_for_the_next() {
    let mut world = World::new();
    world.add(json!({ "publish": ["8080:80", "9090:90"] })).unwrap();
    let next = json!({ "id": "c2", "netns": "/ns/2", "publish": ["127.0.0.1:8080:80"] });
    assert_eq!(give_up(&mut world, next.clone()), Change::default(), "it is still there");
    world.refused(next.clone(), Code::PortTaken, "c1");
    let before = world.desired.clone();
    world.desired.note_presence(&"c1".parse().unwrap(), false);
    let change = give_up(&mut world, next.clone());
    world.add(next).unwrap();
    let hosts: Vec<_> = world.desired.publishes().keys().map(|key| (key.container.as_str(), key.first)).collect();
    assert_eq!(hosts, [("c1", 9090), ("c2", 8080)], "only what was asked for is given up");
    let cni = world.attachment("c1", "eth0").cni.clone().unwrap();
    assert_eq!(cni.ports.iter().map(|port| port.host.first).collect::<Vec<_>>(), [9090], "it does not come again");
    world.ask(&Request::CniDel(key(&json!({ "id": "c2" })))).unwrap();
    world.desired.apply(&change.reverse());
    assert!(world.desired.publishes() == before.publishes());
}
