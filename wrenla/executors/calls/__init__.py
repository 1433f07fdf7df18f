"""Calls: a queue of them, the threads that carry them out, attempts, retries, and the end of each.

::

    caller's thread             a worker's thread                              worker process or function
    ───────────────             ─────────────────                              ──────────────────────────
    Submitter → submit          _take ───→ Channel.perform ──── Request ─────→ Runner → user's function
                  │              ↑               │                                │
         submitted│         ready│               └─→ _ended ←── Outcome ←──── Response
                  ↓   claimed    ↓                      ↓ attempt_ended
                 State: queue, attempts, retries, copies, deadlines, workers
                  │ Hire, Wake   │ Begin, Wait, Leave   │ Resolve, Release
                  ↓              ↓                      ↓
               Thread         _take                  _resolve ──→ Future.result()
"""
