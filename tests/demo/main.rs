//! netd's main job, shown: two networks, three containers, a real web server fetched from outside, and a daemon that is killed while it is.
//! Every command is printed as one would type it, with what it really printed; the end is good only if all of it was true.

mod stage;

use std::{fs, process::ExitCode, time::Duration};

use lab::{HOST_V4, Lab, within};
use stage::Stage;

/// How long a download may take; it is slowed to some seconds so that the daemon's death falls into it.
const DOWNLOAD: Duration = Duration::from_secs(60);
/// Bytes of the file that is downloaded, and bytes a second.
const SIZE: usize = 12 << 20;
const RATE: &str = "3M";

fn main() -> ExitCode {
    let mut stage = Stage::new(Lab::bare());
    stage.says("A private host with an uplink, and an outside host behind it. Nothing of this machine is touched.");
    stage.host("ip -brief address");

    stage.says("netd starts. It has made nothing yet.");
    stage.starts_netd();
    stage.netctl("status");

    stage.says("Two networks and three containers. A container is a network namespace; `ip netns` sees it too.");
    stage.netctl("network create web");
    stage.netctl("network create backend");
    stage.netctl("container create web --network web");
    stage.netctl("container create client --network web");
    stage.netctl("container create db --network backend");
    stage.netctl("network ls");
    stage.netctl("container ls");

    stage.says("A real web server in the container web, and its port published on the host.");
    let site = site(&stage);
    stage.serves("web", &format!("python3 -u -m http.server 80 --directory {site}"));
    stage.netctl("publish web 8080:80");
    let page = stage.outside(&format!("curl --silent --show-error http://{HOST_V4}:8080/"));
    stage.proves("the outside host gets the page over the uplink", page.output.contains("It works, through netd."));
    let page = stage.host("curl --silent --show-error http://127.0.0.1:8080/");
    stage.proves("so does the host itself, by 127.0.0.1", page.output.contains("It works, through netd."));
    let page = stage.netctl(&format!("container exec db -- curl --silent --show-error --max-time 5 http://{HOST_V4}:8080/"));
    stage.proves("and a container of another network, by the host's address", page.output.contains("It works, through netd."));

    stage.says("Isolation: what is not published cannot be reached from another network, nor from outside.");
    let web = stage.address("web");
    let page = stage.netctl(&format!("container exec client -- curl --silent --show-error --max-time 5 http://{web}/"));
    stage.proves("a container of the same network reaches the server directly", page.output.contains("It works, through netd."));
    let page = stage.tries(&format!("netctl container exec db -- curl --silent --show-error --max-time 2 http://{web}/"));
    stage.proves("a container of another network does not", !page.good);
    stage.outside(&format!("ip route add {web} via {HOST_V4}"));
    let page = stage.tries_outside(&format!("curl --silent --show-error --max-time 2 http://{web}/"));
    stage.proves("neither does the outside host, though it has a route", !page.good);

    stage.says("What netd knows, and what it wrote.");
    stage.netctl("ports");
    stage.netctl("container inspect web");
    stage.host("nft list table inet netd");

    stage.says("netd is killed with -9 while the outside host downloads a file.");
    let mut download =
        stage.downloads(&format!("curl --silent --show-error --limit-rate {RATE} --output /run/download http://{HOST_V4}:8080/file"));
    let begun = within(DOWNLOAD, "the download begins", || Some(download.size()).filter(|size| *size > 0));
    stage.kills_netd();
    let later = within(DOWNLOAD, "the download goes on", || Some(download.size()).filter(|size| *size > begun + (1 << 20)));
    stage.proves(&format!("the download goes on without a daemon ({begun} bytes when it was killed, {later} now)"), download.runs());
    stage.starts_netd();
    let plan = stage.netctl("plan -o json");
    stage.proves("the restarted daemon finds nothing to repair", plan.json()["ops"].as_array().is_some_and(Vec::is_empty));
    let status = stage.netctl("status -o json");
    stage.proves(
        "all that it did at its start was to hold the published port again, whose socket died with the former one",
        status.json()["reconcile"]["done"].as_u64() == Some(1),
    );
    let whole = download.ends(DOWNLOAD) && download.content() == fs::read(stage.path(&format!("{site}/file"))).unwrap_or_default();
    stage.proves("the download ends, whole and unchanged", whole);
    let inspect = stage.netctl("container inspect web -o json");
    let sent = inspect.json()["attachments"][0]["counters"]["from"]["bytes"].as_u64();
    stage.proves("and its bytes were counted all the while", sent.is_some_and(|bytes| bytes > SIZE as u64));

    stage.says("Everything goes.");
    stage.ends_servers();
    stage.netctl("cleanup --yes");
    stage.stops_netd();
    stage.ends()
}

/// A page and a file that does not compress, in the private host's /run.
fn site(stage: &Stage) -> &'static str {
    let site = "/run/site";
    fs::create_dir_all(stage.path(site)).expect("the private host's /run can be written");
    fs::write(stage.path("/run/site/index.html"), "<h1>It works, through netd.</h1>\n").expect("the page can be written");
    let mut state = 1_u32;
    let bytes = (0..SIZE).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); // Numerical Recipes' generator
        state.to_be_bytes()[0]
    });
    fs::write(stage.path("/run/site/file"), bytes.collect::<Vec<u8>>()).expect("the file can be written");
    site
}
