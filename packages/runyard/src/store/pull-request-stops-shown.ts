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

/** The newest stop of a pull request that the run made, goes on with or reviews, as json, of a row `r` of runs. */
export const STOP_SHOWN = `(select json_build_object('url', s.url, ${STOPPED_BY}) from runyard.pull_request_stops s
    where s.org_id = r.org_id and s.key in (select runyard.pull_requests_of(r)) order by s.stopped_at desc limit 1) as pull_request_stop`;

/** As the API shows it. */
export function showStop(row: StopRow | null | undefined): PullRequestStop | null {
  if (!row) return null;
  const { url, userId, userName, at } = row;
  return { url, userId, ...(userName !== null && { userName }), at: new Date(at).toISOString() };
}
