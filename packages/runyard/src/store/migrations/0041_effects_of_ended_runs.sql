-- What an attempt asked for that is over is withdrawn with the next claim: due for ever, every claim would look at it.

create or replace function runyard.claim_effects(p_performer text, p_lease text, p_lease_ms int, p_kinds text[], p_limit int)
returns setof runyard.outbox
language sql security definer set search_path = runyard, pg_temp as $f$
  with withdrawn as (
    update runyard.outbox o set status = 'withdrawn', finished_at = now()
      where o.id in (
        select d.id from runyard.outbox d
          where d.status = 'due' and d.next_attempt_at <= now() and (d.leased_until is null or d.leased_until <= now())
            and d.run_id is not null and not exists (
              select from runyard.runs r where r.id = d.run_id and r.attempt = d.attempt and not runyard.is_terminal(r.status))
          order by d.next_attempt_at limit 100 for update skip locked)
  )
  update runyard.outbox o set
      performer = p_performer, lease = p_lease || ':' || o.id, leased_until = now() + p_lease_ms * interval '1 millisecond', tries = o.tries + 1
    where o.id in (
      select d.id from runyard.outbox d
        where d.status = 'due' and d.next_attempt_at <= now() and (d.leased_until is null or d.leased_until <= now()) and d.kind = any(p_kinds)
          and (d.run_id is null or exists (
            select from runyard.runs r where r.id = d.run_id and r.attempt = d.attempt and not runyard.is_terminal(r.status)))
        order by d.next_attempt_at limit p_limit for update skip locked)
    returning o.*
$f$;
