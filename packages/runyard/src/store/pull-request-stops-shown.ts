import type { PullRequestStop } from "@runyard/sdk/contract";

/** A stop as PostgreSQL gives it. */
export interface StopRow {
  readonly url: string;
  readonly userId: string;
  readonly userName: string | null;
  readonly at: string;
}

/** Who stopped it and when, as members of a json object, of a row `s` of stops. */
export const STOPPED_BY = `'userId', s.stopped_by, 'userName', (select u.name from runyard.users u where u.id = s.stopped_by), 'at', s.stopped_at`;

/** The stop of the newest of a run's pull requests that is stopped, as json, of a row `r` of runs. */
export const STOP_SHOWN = `(select json_build_object('url', p.url, ${STOPPED_BY})
    from runyard.pull_requests p join runyard.pull_request_stops s on s.org_id = p.org_id and s.url = lower(p.url)
    where p.run_id = r.id order by p.num desc limit 1) as pull_request_stop`;

/** As the API shows it. */
export function showStop(row: StopRow | null | undefined): PullRequestStop | null {
  if (!row) return null;
  const { url, userId, userName, at } = row;
  return { url, userId, ...(userName !== null && { userName }), at: new Date(at).toISOString() };
}
