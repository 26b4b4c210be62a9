//! The thread through everything.

use failover::Side;

use crate::client::{Client, Speaks};
use crate::site::Site;

#[tokio::test]
async fn e2_when_main_dies_requests_are_served_by_standby() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for speaks in [Speaks::H1, Speaks::H2] {
        let answer = client.connect(speaks).await.unwrap().get("/xuc/lab/headers").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.side()), (200, "main"));
    }
    site.main.kill();
    let answer = client.get("/version").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "standby"));
    site.wait_live(Side::Standby);
    assert_eq!(site.live(), ("standby".to_owned(), 1));
}
