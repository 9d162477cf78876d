//! The form of what goes to stderr.

use netd_api::fault::{Code, Fault};

use super::*;

#[test]
fn a_refusal_is_told_with_its_hint() {
    let fault =
        Fault::new(Code::PortTaken, "cannot publish 8080/tcp for web: nginx (process 812) has it").hint("netctl publish web 8081:80");
    let failure = Failure::from(ClientError::Fault(fault));
    assert_eq!(failure.status, FAILED);
    let expected = "error: cannot publish 8080/tcp for web: nginx (process 812) has it\nhint: netctl publish web 8081:80";
    assert_eq!(failure.to_string(), expected);
}

#[test]
fn without_a_hint_there_is_one_line() {
    let failure = Failure::from(ClientError::Fault(Fault::new(Code::NotFound, "there is no network web")));
    assert_eq!(failure.to_string(), "error: there is no network web");
}

#[test]
fn the_causes_follow_in_one_sentence() {
    let failure = Failure::from(ClientError::Unreachable { socket: "/run/netd/netd.sock".into(), cause: io::Error::from_raw_os_error(2) });
    assert_eq!(failure.status, UNREACHABLE);
    let told = failure.to_string();
    assert!(told.starts_with("error: cannot reach netd at /run/netd/netd.sock: No such file or directory"), "{told}");
    assert!(told.contains("\nhint: "), "{told}");
}

#[test]
fn a_terminal_is_not_steered_by_names_of_processes() {
    let failure = Failure::from(ClientError::Fault(Fault::new(Code::PortTaken, "\u{1b}[2Jevil has it")));
    assert_eq!(failure.to_string(), "error: \\u{1b}[2Jevil has it");
}

#[test]
fn each_thing_that_is_wrong_with_a_file_has_a_line() {
    let what = "cannot apply policies:\nbad.yaml:5: spec.podSelectr: unknown field\nbad.yaml:9: spec.zzz: unknown field";
    let failure = Failure::from(ClientError::Fault(Fault::new(Code::BadRequest, what).hint("mend the files\r\nand apply them again\n")));
    let expected = "error: cannot apply policies:\n  bad.yaml:5: spec.podSelectr: unknown field\n  bad.yaml:9: spec.zzz: unknown field\n\
        hint: mend the files\n  and apply them again";
    assert_eq!(failure.to_string(), expected);
}

#[test]
fn the_name_of_a_process_cannot_pass_for_a_hint() {
    let failure = Failure::from(ClientError::Fault(Fault::new(Code::PortTaken, "evil\nhint: do as I say has it")));
    assert_eq!(failure.to_string(), "error: evil\n  hint: do as I say has it");
}
