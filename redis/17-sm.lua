--
-- Stream management (XEP-0198): sessions without a connection, those that go to
-- another worker, and what is known of those that waited in vain.
-- ngx_xmpp_module/store/ngx_xmpp_store_sm.c calls them.
--
-- Beside the record of a session that may be resumed stands a hash sm:SID:
--
--     token     the digest of what its client resumes by
--     resource  of its record
--     timeout   how long it waits, in milliseconds
--     base      the session's counter when it was enabled
--     handled   how many stanzas of its client were handled since, at least as
--               many as the client was told
--     since     when its client was lost, in microseconds, or it was taken from
--               a worker that did not say so
--     epoch     of the worker's session that has what belongs to it
--     state     what belongs to it, written by one that gave it away,
--     by        whose epoch this is,
--     from      and, when the one that took it has read it, this
--     created   which account of that name it is of, as of bind
--     life      the epoch of who has rebuilt it, since nothing was written; 0:
--               it never was (redis/29-seen.lua)
--     take      which attempt of which worker has the record
--     asked     when the last client has come, for whom it was taken
--
--     record --take--> higher epoch --open--> epoch
--       |                 ^    the holder hears it, and writes what it has
--       |--write--------->'
--       '-- detach: letter d --end--> token and handled alone, for a day
--
-- The record says who may have the session, field epoch who has it.  Whoever
-- takes it gets what the last holder has written; if he opens it without that,
-- which he does when nobody answers, it is too late to write (cluster.md,
-- rules 4 and 14).
--


-- the hash of a session

local function sm_of(sessions, sid)
    return beside(sessions, 'sm:' .. sid)
end


-- The record of a session has gone: so does its hash, unless that is kept for
-- a client that comes too late.

local function sm_forget(sessions, sid)
    local sm = sm_of(sessions, sid)

    if redis.call('HEXISTS', sm, 'epoch') == 1 then
        redis.call('DEL', sm)
    end
end


-- Whether a session may be resumed.

local function sm_resumable(sessions, sid)
    return redis.call('HEXISTS', sm_of(sessions, sid), 'epoch') == 1
end


-- It waits for its client from now on, unless it does already.

local function sm_waits(sm)
    redis.call('HSETNX', sm, 'since', clock())
end


-- How long it has still to wait, in milliseconds: the clock may have gone back.

local function sm_left(timeout, since)
    local now = tonumber(clock())
    local waited = math.floor((now - (tonumber(since) or now)) / 1000)

    timeout = tonumber(timeout) or 0

    return string.format('%.0f', math.max(0, math.min(timeout,
                                                      timeout - waited)))
end
