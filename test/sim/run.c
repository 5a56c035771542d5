/*
 * run.c - the simulation of syn scopes: histories from seeds, and scripted ones. See sim.h.
 *
 *   sim_run [--seeds N] [--first S]     N seeds from S on (default 300 from 1), and the scripts
 *   sim_run --seed S [--verbose]        one seed again; --verbose prints each step
 *
 * Exit status 0 only if all passed; ends with the line `N passed, N failed`. A night's worth: --seeds 10000.
 */
#include "sim.h"

#include "base/assert.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct totals {
    uint64_t steps, kills, tolerated, storms;
    int passed, failed;
} totals;

static const char *const kind_names[MEMBER_KINDS] = {"native", "3.3.0", "3.4.1", "main"};

/* ---- random histories ---- */

static process *any_process(sim *s, int m) {
    member *in = &s->members[m];
    process *alive[SIM_PROCESSES];
    uint32_t count = 0;
    for (int i = 0; i < in->process_count; i++) {
        if (in->processes[i].alive)
            alive[count++] = &in->processes[i];
    }
    return count < 3 && sim_chance(s, 50) ? sim_spawn(s, m) : count == 0 ? NULL : alive[sim_below(s, count)];
}

static int any_table(sim *s, int m, int k, entry *entries) {
    member *in = &s->members[m];
    return in->native != NULL ? native_table(in->native, k, entries, SIM_TABLE)
                              : model_table(in->model[k], entries, SIM_TABLE);
}

static int any_key(sim *s, int k) { return (int)sim_below(s, k == NP_SYN_REGISTRY ? SIM_NAMES : SIM_GROUPS); }

/* A process on m calls syn for a process of another member. */
static void do_remote(sim *s, int m, int k) {
    entry entries[SIM_TABLE];
    int other = (int)sim_below(s, (uint32_t)s->count);
    caller c = {.member = m, .request = sim_chance(s, 60) ? NP_SYN_ASK_SET : NP_SYN_ASK_UNSET};
    if (other == m || !s->connected[m][other])
        return;
    if (c.request == NP_SYN_ASK_SET) {
        process *p = any_process(s, other);
        if (p == NULL)
            return;
        c.pid = p->pid;
        c.key = any_key(s, k);
        c.meta = (int)sim_below(s, 4);
    } else {
        int count = any_table(s, m, k, entries);
        int at = count == 0 ? 0 : (int)sim_below(s, (uint32_t)count);
        if (count == 0 || entries[at].pid.node != s->members[other].id)
            return;
        c.pid = entries[at].pid;
        c.key = entries[at].key;
    }
    sim_log(s, "%d/%d calls for %s: %s %d", m, k, sim_pid(&c.pid), c.request == NP_SYN_ASK_SET ? "set" : "unset",
            c.key);
    if (s->members[m].native != NULL)
        native_remote(s->members[m].native, k, &c);
    else
        model_remote(s->members[m].model[k], &c);
}

/* Two members that do not see each other register a name at the very same time. */
static void do_tie(sim *s) {
    int a = (int)sim_below(s, (uint32_t)s->count), b = (int)sim_below(s, (uint32_t)s->count);
    int ends[2] = {a, b}, key = any_key(s, NP_SYN_REGISTRY);
    if (a == b || s->connected[a][b])
        return;
    for (int i = 0; i < 2; i++) {
        member *m = &s->members[ends[i]];
        process *p = m->up && m->scope_alive[NP_SYN_REGISTRY] ? any_process(s, ends[i]) : NULL;
        if (p == NULL)
            continue;
        sim_log(s, "tie: %d registers %d %s", ends[i], key, sim_pid(&p->pid));
        if (m->native != NULL)
            member_set(s, ends[i], NP_SYN_REGISTRY, key, p, 9);
        else
            model_set_now(m->model[NP_SYN_REGISTRY], key, &p->pid, 9);
    }
}

static void do_something(sim *s) {
    int m = (int)sim_below(s, (uint32_t)s->count), other = (int)sim_below(s, (uint32_t)s->count);
    int k = sim_chance(s, 70) ? NP_SYN_REGISTRY : NP_SYN_PG;
    member *in = &s->members[m];
    uint32_t what = sim_below(s, 100);
    process *p = in->up && what < 60 ? any_process(s, m) : NULL;
    if (what < 34 && p != NULL)
        member_set(s, m, k, any_key(s, k), p, (int)sim_below(s, 4));
    else if (what < 52 && p != NULL)
        member_unset(s, m, k, any_key(s, k), p);
    else if (what < 60 && p != NULL)
        sim_exit(s, &p->pid, "crash");
    else if (what >= 60 && what < 70 && in->up && s->remote)
        do_remote(s, m, k);
    else if (what >= 70 && what < 76)
        sim_cut(s, m, other);
    else if (what >= 76 && what < 86)
        sim_connect(s, m, other);
    else if (what >= 86 && what < 88)
        sim_stop(s, m);
    else if (what >= 88 && what < 92)
        sim_start(s, m);
    else if (what >= 92 && what < 96)
        sim_kill_scope(s, m, k);
    else if (what >= 96)
        do_tie(s);
}

static void print_members(const sim *s) {
    printf("seed %llu:", (unsigned long long)s->seed);
    for (int i = 0; i < s->count; i++)
        printf(" %d=%s", i, kind_names[s->members[i].kind]);
    printf("%s%s\n", s->remote ? ", calls for processes of others" : "", s->natives_visible ? ", all visible" : "");
}

static void begin(sim *s, uint64_t seed, bool verbose) {
    member_kind kinds[SIM_MEMBERS];
    np_rng rng;
    np_rng_seed(&rng, seed ^ 0x53594E);
    int count = 2 + (int)np_rng_below(&rng, SIM_MEMBERS - 1);
    bool with_330 = np_rng_below(&rng, 3) == 0;
    for (int i = 0; i < count; i++) {
        uint64_t pick = np_rng_below(&rng, 10);
        kinds[i] = pick < 4 ? MEMBER_NATIVE : pick < 7 ? MEMBER_341 : pick < 8 || !with_330 ? MEMBER_HEAD : MEMBER_330;
    }
    kinds[np_rng_below(&rng, (uint64_t)count)] = MEMBER_NATIVE;
    sim_init(s, seed, kinds, count);
    s->verbose = verbose;
    s->remote = np_rng_below(&rng, 3) == 0;
    s->natives_visible = np_rng_below(&rng, 4) == 0;
}

static bool run_seed(uint64_t seed, bool verbose, totals *t) {
    static sim s;
    begin(&s, seed, verbose);
    if (verbose)
        print_members(&s);
    for (int i = 0; i < s.count; i++)
        sim_start(&s, i);
    for (int round = 0; round < 3 && !s.failed; round++) {
        uint32_t busy = 5 + sim_below(&s, 60); /* steps for each thing done, about */
        for (uint32_t todo = 20 + sim_below(&s, 120); todo > 0;) {
            if (!sim_chance(&s, 100 / (busy % 20 + 1)) && sim_step(&s))
                continue;
            sim_pass(&s, 1 + sim_below(&s, 2000));
            do_something(&s);
            todo--;
        }
        if (!sim_settle(&s))
            break;
        sim_log(&s, "---- all is quiet");
        sim_check(&s);
    }
    t->steps += s.steps;
    t->kills += s.kills;
    t->tolerated += s.tolerated;
    t->storms += s.storms;
    bool failed = s.failed;
    if (failed) {
        print_members(&s);
        printf("seed %llu: replay: sim_run --seed %llu --verbose\n", (unsigned long long)seed,
               (unsigned long long)seed);
    }
    sim_fini(&s);
    t->passed += !failed;
    t->failed += failed;
    return !failed;
}

/* ---- scripted histories ---- */

static void drain(sim *s, int m) {
    for (int k = 0; k < SIM_KINDS && s->members[m].native == NULL; k++) {
        model *model = s->members[m].model[k];
        while (model_mailbox(model) || model_helper(model))
            sim_pass(s, 10);
    }
    while (s->members[m].native != NULL && native_busy(s->members[m].native))
        native_step(s->members[m].native);
}

static void deliver_all(sim *s, int from, int to) {
    while (sim_deliver(s, from, to))
        sim_pass(s, 10);
}

/*
 * The zombie that syn's TLA+ model found, and 3.4.1 mended. Both register a name while they do not see each other,
 * 1 later. They meet; 0 hears 1's list, loses, and kills its process; 1 has unregistered meanwhile. The list that 0
 * had sent before, with the dead process, arrives at 1 last.
 */
static void zombie(sim *s) {
    sim_start(s, 0);
    sim_start(s, 1);
    process *p0 = sim_spawn(s, 0), *p1 = sim_spawn(s, 1);
    for (int m = 0; m < 2; m++) {
        member_set(s, m, NP_SYN_REGISTRY, 1, m == 0 ? p0 : p1, m);
        drain(s, m);
        sim_pass(s, 1000);
    }
    sim_connect(s, 0, 1);
    drain(s, 0);
    deliver_all(s, 0, 1); /* the discover: 1's answer has the name */
    member_unset(s, 1, NP_SYN_REGISTRY, 1, p1);
    drain(s, 1);
    for (int i = 0; i < 3; i++) {
        deliver_all(s, 1, 0);
        drain(s, 0);
    }
    if (p0->alive)
        sim_fail(s, "zombie: the earlier registration should have lost");
}

static void run_zombie(member_kind a, member_kind b, bool verbose, totals *t) {
    static sim s;
    member_kind kinds[] = {a, b};
    sim_init(&s, 0, kinds, 2);
    s.verbose = verbose;
    s.script = true;
    s.natives_visible = true;
    zombie(&s);
    if (sim_settle(&s))
        sim_check(&s);
    if (s.failed || s.tolerated > 0)
        printf("script zombie, %s against %s: %s\n", kind_names[a], kind_names[b],
               s.failed ? "failed" : "there is one, as syn has it");
    t->passed += !s.failed;
    t->failed += s.failed;
    sim_fini(&s);
}

static void run_scripts(bool verbose, totals *t) {
    for (int a = 0; a < MEMBER_KINDS; a++) {
        for (int b = 0; b < MEMBER_KINDS; b++)
            run_zombie((member_kind)a, (member_kind)b, verbose, t);
    }
}

/* ---- the command line ---- */

static uint64_t number(const char *option, const char *text) {
    char *end;
    uint64_t value = text == NULL ? 0 : strtoull(text, &end, 10);
    if (text == NULL || *text == 0 || *end != 0) {
        fprintf(stderr, "sim_run: %s needs a number\n", option);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv) {
    uint64_t seeds = 300, first = 1;
    bool one = false, verbose = false;
    totals t = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            seeds = number(argv[i], argv[i + 1]);
            i++;
        } else if (strcmp(argv[i], "--first") == 0) {
            first = number(argv[i], argv[i + 1]);
            i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            first = number(argv[i], argv[i + 1]);
            seeds = 1;
            one = true;
            i++;
        } else {
            fprintf(stderr, "usage: sim_run [--seeds N] [--first S] [--seed S] [--verbose]\n");
            return 2;
        }
    }
    np_log_set_level(NP_LOG_CRITICAL); /* conflicts are what this is about */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!one)
        run_scripts(verbose, &t);
    for (uint64_t seed = first; seed < first + seeds && t.failed < 10; seed++)
        run_seed(seed, verbose, &t);
    printf("sim: %llu steps, %llu conflicts, %llu differences and %llu storms that are syn's own\n",
           (unsigned long long)t.steps, (unsigned long long)t.kills, (unsigned long long)t.tolerated,
           (unsigned long long)t.storms);
    printf("%d passed, %d failed\n", t.passed, t.failed);
    return t.failed == 0 ? 0 : 1;
}
