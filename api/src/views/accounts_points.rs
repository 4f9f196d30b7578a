//! IntelliPoints in the projection `accounts`: changes, what epochs take off, and what they reward.

use aevir_events::{
    Recorded, Timestamp,
    projection::{Keys, ProjectionError, Rows, Value},
};
use aevir_platform::event::{EpochClosed, EpochOpened, Event, PointsChanged, RewardsClaimed};

use super::{
    accounts_tables::{CHANGES, CLAIMS, EPOCHS, FADED, POINTS, TRACKS},
    id, money, ms, name, position,
};
use crate::convert::name_of;

type Done = Result<(), ProjectionError>;

/// Thousandths in a point.
const POINT: i64 = 1_000;
/// The one row of [`FADED`].
const FADED_ROW: i64 = 0;

pub(super) fn wants(e: &PointsChanged, keys: &mut Keys) {
    keys.add(POINTS, [id(e.account)]);
    keys.add(TRACKS, [id(e.account), name(&e.track)]);
    keys.add(FADED, [FADED_ROW.into()]);
}

pub(super) async fn changed(
    rows: &mut Rows<'_>,
    recorded: &Recorded<Event>,
    e: &PointsChanged,
) -> Done {
    let track = name_of(&e.track);
    let delta = e.delta.0.checked_mul(POINT);
    let delta = delta.ok_or_else(|| ProjectionError::refused("points pass 64 bits"))?;
    let closed = rows.entry(FADED, [FADED_ROW.into()]).await?.int("closed")?;
    let points = rows.entry(POINTS, [id(e.account)]).await?;
    let before = points.int(&track)?;
    let balance = points
        .add("total", delta)?
        .add(&track, delta)?
        .int(&track)?;
    let last = rows.entry(TRACKS, [id(e.account), name(&e.track)]).await?;
    // Of a track without points nothing fades, however many epochs close.
    let (faded, epochs) = match last.int("balance")? {
        0 => (0, 0),
        left => (left - before, closed - last.int("closed")?),
    };
    last.set("balance", balance)?.set("closed", closed)?;
    rows.insert(
        CHANGES,
        [
            ("position", position(recorded.position)?),
            ("account", id(e.account)),
            ("track", track.into()),
            ("delta", e.delta.0.into()),
            ("reason", name(&e.reason)),
            ("task", id(e.task)),
            ("assignment", e.assignment.map(|a| a.to_string()).into()),
            ("epochs", epochs.into()),
            ("faded", faded.into()),
            ("balance", balance.into()),
            ("changed_at", ms(recorded.time)),
        ],
    )
}

pub(super) fn epoch_opened(rows: &mut Rows<'_>, at: Timestamp, e: &EpochOpened) -> Done {
    rows.insert(EPOCHS, [("epoch", e.epoch.into()), ("opened_at", ms(at))])
}

/// All points fade, in one statement.
pub(super) async fn epoch_closed(rows: &mut Rows<'_>, at: Timestamp, e: &EpochClosed) -> Done {
    let reward_points = e.reward.map(|reward| i64::try_from(reward.points.0));
    let reward_points = reward_points
        .transpose()
        .map_err(|_| ProjectionError::refused("points pass 63 bits"))?;
    let epoch = rows.row(EPOCHS, [e.epoch.into()]).await?;
    epoch
        .set("closed_at", ms(at))?
        .set("points_keep_ppm", e.points_keep_ppm)?
        .set("reward", e.reward.map(|reward| reward.amount.0))?
        .set("reward_points", reward_points)?;
    let faded = rows.entry(FADED, [FADED_ROW.into()]).await?;
    faded.set("closed", e.epoch)?;
    let tracks = ["compute", "content", "verification"];
    rows.scale(POINTS, &tracks, "total", e.points_keep_ppm)
        .await
}

pub(super) fn claimed(rows: &mut Rows<'_>, recorded: &Recorded<Event>, e: &RewardsClaimed) -> Done {
    for part in &e.parts {
        let points = i64::try_from(part.points.0);
        let points = points.map_err(|_| ProjectionError::refused("points pass 63 bits"))?;
        rows.insert(
            CLAIMS,
            [
                ("account", id(e.account)),
                ("epoch", part.epoch.into()),
                ("points", Value::Int(points)),
                ("amount", money(part.amount)),
                ("position", position(recorded.position)?),
                ("claimed_at", ms(recorded.time)),
            ],
        )?;
    }
    Ok(())
}
