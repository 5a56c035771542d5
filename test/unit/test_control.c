/*
 * Control messages: every recorded one decoded and encoded again byte for byte (test/golden/control.golden), the
 * forms each set of flags asks for, legacy atoms, and tuples that are none.
 */
#include "dist/control.h"
#include "dist/flags.h"
#include "golden.h"
#include "term/ids.h"
#include "term/names.h"
#include "term/out.h"
#include "term/print.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t all_flags = NP_DFLAGS_OURS;

/* The opcode of an encoded tuple, its second element. */
static int opcode(const np_buf *tuple) { return np_buf_head(tuple)[3]; }

static bool has_token(int op) {
    return op == 12 || op == 13 || op == 16 || op == 18 || op == 23 || op == 25 || op == 27 || op == 30 || op == 32 ||
           op == 34;
}

/* The flags under which the kind is encoded with this opcode. */
static uint64_t flags_for(int op) {
    bool old = op == NP_OP_EXIT || op == NP_OP_EXIT_TT || op == NP_OP_EXIT2 || op == NP_OP_EXIT2_TT ||
               op == NP_OP_MONITOR_P_EXIT;
    return old ? all_flags & ~NP_DFLAG_EXIT_PAYLOAD : all_flags;
}

static int decode(np_control *c, np_in tuple, np_in payload, np_buf *names, const char **why) {
    memset(c, 0xA5, sizeof *c); /* what decode leaves alone is not to be relied on */
    return np_control_decode(c, tuple, payload, names, why);
}

static void assert_same_term(np_in term, const char *expected) {
    np_buf text = NP_BUF_INIT;
    assert_int_equal(np_term_print(&term, &text, SIZE_MAX), 0);
    np_buf_append_u8(&text, 0);
    if (!golden_text_matches(expected, (const char *)np_buf_head(&text)))
        fail_msg("expected %s\n     got %s", expected, (const char *)np_buf_head(&text));
    np_buf_fini(&text);
}

/* ---- recorded messages ---- */

static void check_recorded(const golden_line *packet, const golden_line *texts, size_t count, int *seen) {
    np_control c, again;
    np_buf names = NP_BUF_INIT, out = NP_BUF_INIT, names_again = NP_BUF_INIT;
    bool has_payload = false;
    const uint8_t *data = packet->bytes + 3;
    size_t len = packet->len - 3;
    int64_t n = np_term_validate(data, len);
    assert_true(n > 0);
    np_in tuple = {data, 0, (size_t)n}, payload = {data + n, 0, 0};
    if ((size_t)n < len)
        assert_int_equal(np_term_open(&payload, data + n, len - (size_t)n), 0);
    assert_int_equal(count, np_in_at_end(&payload) ? 1 : 2);
    assert_same_term(tuple, texts[0].text);
    if (count > 1)
        assert_same_term(payload, texts[1].text);

    int op = data[3];
    seen[op]++;
    assert_int_equal(decode(&c, tuple, payload, &names, NULL), 0);
    assert_int_equal(np_control_encode(&c, flags_for(op), &out, &has_payload), 0);
    assert_int_equal(has_payload, count == 2);
    np_in encoded;
    assert_int_equal(np_term_open(&encoded, np_buf_head(&out), np_buf_len(&out)), 0);
    if (!has_token(op)) {
        assert_int_equal(np_buf_len(&out), n);
        assert_memory_equal(np_buf_head(&out), data, n);
    } else {
        /* We never send tokens: the same message without one. */
        assert_int_equal(decode(&again, encoded, payload, &names_again, NULL), 0);
        assert_int_equal(again.kind, c.kind);
        assert_true(np_pid_eq(&again.from, &c.from) || c.kind == NP_CTL_SEND);
        assert_true(np_pid_eq(&again.to, &c.to));
        assert_int_equal(again.name.len, c.name.len);
        assert_int_equal(again.flags, c.flags);
        assert_int_equal(again.payload.end - again.payload.pos, c.payload.end - c.payload.pos);
    }
    np_buf_fini(&names);
    np_buf_fini(&names_again);
    np_buf_fini(&out);
}

static void recorded(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    int seen[256] = {0}, messages = 0;
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        for (size_t i = 0, texts = 0; i < r->count; i++) {
            const golden_line *line = &r->lines[i];
            if (line->kind == GOLDEN_TEXT) {
                texts++;
                continue;
            }
            if (line->len > 0 && line->bytes[1] == 68) {
                assert_true(texts > 0);
                check_recorded(line, line - texts, texts, seen);
                messages++;
            }
            texts = 0;
        }
    }
    golden_close(&g);
    assert_int_equal(messages, 487);
    static const int expected[] = {1,  2,  3,  4,  6,  7,  8,  12, 13, 16, 19, 20, 21, 22,
                                   23, 24, 25, 26, 28, 29, 30, 31, 32, 33, 34, 35, 36};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_true(seen[expected[i]] > 0);
}

/* ---- made up ones ---- */

static np_pid us(uint32_t num) { return (np_pid){np_name_id("us@h"), num, 0, 7}; }
static np_pid them(uint32_t num) { return (np_pid){np_name_id("them@h"), num, 1, 9}; }
static np_ref ref(void) { return (np_ref){np_name_id("them@h"), 9, 3, {1, 2, 3}}; }
static np_str str(const char *text) { return (np_str){text, strlen(text)}; }
static const uint8_t atom_x[] = {119, 1, 'x'}, nil[] = {106};
static const np_in term_x = {atom_x, 0, sizeof atom_x}, no_term = {atom_x, 0, 0};

/* A message of each kind with all its fields. */
static np_control sample(np_ctl_kind kind) {
    np_control c;
    memset(&c, 0, sizeof c);
    c.kind = kind;
    c.from = us(1);
    c.to = them(2);
    c.ref = ref();
    c.id = 5;
    c.leader = us(3);
    c.spawn.module = str("m");
    c.spawn.function = str("f");
    c.spawn.arity = 2;
    c.spawn.options = (np_in){nil, 0, 1};
    c.payload = no_term;
    switch (kind) {
    case NP_CTL_REG_SEND: c.name = str("srv"); /* fall through */
    case NP_CTL_SEND:
    case NP_CTL_ALIAS_SEND:
    case NP_CTL_EXIT:
    case NP_CTL_EXIT2:
    case NP_CTL_DOWN:
    case NP_CTL_SPAWN_REQUEST: c.payload = term_x; break;
    default: break;
    }
    return c;
}

/* Encodes; returns the opcode or the error. */
static int encode_op(const np_control *c, uint64_t flags, const char *text) {
    np_buf out = NP_BUF_INIT;
    bool has_payload;
    int rc = np_control_encode(c, flags, &out, &has_payload);
    if (rc == 0) {
        np_in in;
        assert_int_equal(np_term_open(&in, np_buf_head(&out), np_buf_len(&out)), 0);
        if (text != NULL)
            assert_same_term(in, text);
        rc = opcode(&out);
    } else {
        assert_int_equal(np_buf_len(&out), 0);
    }
    np_buf_fini(&out);
    return rc;
}

static void forms(void **state) {
    (void)state;
    static const struct {
        np_ctl_kind kind;
        uint64_t without;
        int op; /* or the error */
        const char *text;
    } table[] = {
#define FROM "#Pid<us@h,1,0,7>"
#define TO   "#Pid<them@h,2,1,9>"
#define REF  "#Ref<them@h,9,[1,2,3]>"
        {NP_CTL_SEND, 0, 22, "{22," FROM "," TO "}"},
        {NP_CTL_SEND, NP_DFLAG_SEND_SENDER, 2, "{2,''," TO "}"},
        {NP_CTL_REG_SEND, 0, 6, "{6," FROM ",'',srv}"},
        {NP_CTL_ALIAS_SEND, 0, 33, "{33," FROM "," REF "}"},
        {NP_CTL_ALIAS_SEND, NP_DFLAG_ALIAS, 33, "{33," FROM "," REF "}"},
        {NP_CTL_LINK, 0, 1, "{1," FROM "," TO "}"},
        {NP_CTL_UNLINK, 0, 4, "{4," FROM "," TO "}"},
        {NP_CTL_UNLINK_ID, 0, 35, "{35,5," FROM "," TO "}"},
        {NP_CTL_UNLINK_ID, NP_DFLAG_UNLINK_ID, 4, "{4," FROM "," TO "}"},
        {NP_CTL_UNLINK_ID_ACK, 0, 36, "{36,5," FROM "," TO "}"},
        {NP_CTL_UNLINK_ID_ACK, NP_DFLAG_UNLINK_ID, NP_ENOTSUP, NULL},
        {NP_CTL_EXIT, 0, 24, "{24," FROM "," TO "}"},
        {NP_CTL_EXIT, NP_DFLAG_EXIT_PAYLOAD, 3, "{3," FROM "," TO ",x}"},
        {NP_CTL_EXIT2, 0, 26, "{26," FROM "," TO "}"},
        {NP_CTL_EXIT2, NP_DFLAG_EXIT_PAYLOAD, 8, "{8," FROM "," TO ",x}"},
        {NP_CTL_MONITOR, 0, 19, "{19," FROM "," TO "," REF "}"},
        {NP_CTL_MONITOR, NP_DFLAG_DIST_MONITOR, NP_ENOTSUP, NULL},
        {NP_CTL_MONITOR, NP_DFLAG_DIST_MONITOR_NAME, NP_ENOTSUP, NULL},
        {NP_CTL_DEMONITOR, 0, 20, "{20," FROM "," TO "," REF "}"},
        {NP_CTL_DOWN, 0, 28, "{28," FROM "," TO "," REF "}"},
        {NP_CTL_DOWN, NP_DFLAG_EXIT_PAYLOAD, 21, "{21," FROM "," TO "," REF ",x}"},
        {NP_CTL_GROUP_LEADER, 0, 7, "{7," FROM "," TO "}"},
        {NP_CTL_SPAWN_REQUEST, 0, 29, "{29," REF "," FROM ",#Pid<us@h,3,0,7>,{m,f,2},[]}"},
        {NP_CTL_SPAWN_REQUEST, NP_DFLAG_SPAWN, NP_ENOTSUP, NULL},
        {NP_CTL_SPAWN_REPLY, 0, 31, "{31," REF "," TO ",0," FROM "}"},
        {NP_CTL_SPAWN_REPLY, NP_DFLAG_SPAWN, NP_ENOTSUP, NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        np_control c = sample(table[i].kind);
        assert_int_equal(encode_op(&c, all_flags & ~table[i].without, table[i].text), table[i].op);
    }
}

static void names_and_numbers(void **state) {
    (void)state;
    np_control c = sample(NP_CTL_DOWN);
    c.name = str("srv"); /* wins over the pid, which only says who sends */
    encode_op(&c, all_flags, "{28,srv," TO "," REF "}");
    c = sample(NP_CTL_MONITOR);
    c.name = str("A b");
    encode_op(&c, all_flags, "{19," FROM ",'A b'," REF "}");
    c = sample(NP_CTL_DOWN);
    c.from = (np_pid){0};
    c.name = str(""); /* the atom '' */
    encode_op(&c, all_flags, "{28,''," TO "," REF "}");
    c = sample(NP_CTL_SPAWN_REPLY);
    c.name = str("notsup");
    c.flags = 3;
    encode_op(&c, all_flags, "{31," REF "," TO ",3,notsup}");
    static const struct {
        uint64_t id;
        const char *text;
    } ids[] = {
        {255, "{35,255," FROM "," TO "}"},
        {256, "{35,256," FROM "," TO "}"},
        {INT32_MAX, "{35,2147483647," FROM "," TO "}"},
        {UINT64_C(0x80000000), "{35,2147483648," FROM "," TO "}"},
        {UINT64_MAX, "{35,18446744073709551615," FROM "," TO "}"},
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        c = sample(NP_CTL_UNLINK_ID);
        c.id = ids[i].id;
        assert_int_equal(encode_op(&c, all_flags, ids[i].text), 35);
    }
}

/* What would make the peer close the connection is not encoded. */
static void incomplete(void **state) {
    (void)state;
    for (np_ctl_kind kind = NP_CTL_SEND; kind <= NP_CTL_SPAWN_REPLY; kind++) {
        np_control c = sample(kind);
        bool pid_to = kind != NP_CTL_REG_SEND && kind != NP_CTL_ALIAS_SEND && kind != NP_CTL_SPAWN_REQUEST;
        c.to = (np_pid){0};
        if (pid_to)
            assert_int_equal(encode_op(&c, all_flags, NULL), NP_EINVAL);
        c = sample(kind);
        c.from = (np_pid){0};
        if (kind != NP_CTL_SEND)
            assert_int_equal(encode_op(&c, all_flags, NULL), NP_EINVAL);
        c = sample(kind);
        if (!np_in_at_end(&c.payload)) {
            c.payload = no_term;
            assert_int_equal(encode_op(&c, all_flags, NULL), NP_EINVAL);
        }
    }
    np_control c = sample(NP_CTL_UNLINK_ID);
    c.id = 0;
    assert_int_equal(encode_op(&c, all_flags, NULL), NP_EINVAL);
    c = sample(NP_CTL_MONITOR);
    c.ref.len = 6;
    assert_int_equal(encode_op(&c, all_flags, NULL), NP_EINVAL);
    char long_name[257];
    memset(long_name, 'a', 256);
    long_name[256] = '\0';
    c = sample(NP_CTL_REG_SEND);
    c.name = str(long_name);
    assert_int_equal(encode_op(&c, all_flags, NULL), NP_EINVAL);
    c.name.len = 255;
    assert_int_equal(encode_op(&c, all_flags, NULL), 6);
}

/* ---- decoding by hand ---- */

/*
 * Builds a tuple from a format: i small integer, p our pid, t their pid, r reference, n name, m {m,f,2}, l []; the
 * opcode first.
 */
static void build(np_buf *buf, int op, const char *format) {
    np_out out;
    np_pid p = us(1), t = them(2);
    np_ref r = ref();
    np_out_init(&out, buf, SIZE_MAX);
    np_out_tuple(&out, 1 + (uint32_t)strlen(format));
    np_out_int(&out, op);
    for (; *format != '\0'; format++) {
        switch (*format) {
        case 'i': np_out_int(&out, 1); break;
        case 'p': np_out_pid(&out, &p); break;
        case 't': np_out_pid(&out, &t); break;
        case 'r': np_out_ref(&out, &r); break;
        case 'n': np_out_atom(&out, "name"); break;
        case 'l': np_out_nil(&out); break;
        case 'm':
            np_out_tuple(&out, 3);
            np_out_atom(&out, "m");
            np_out_atom(&out, "f");
            np_out_int(&out, 2);
            break;
        case 'T': /* a trace token */
            np_out_tuple(&out, 5);
            for (int i = 0; i < 5; i++)
                np_out_int(&out, i);
            break;
        default: np_out_int(&out, *format - '0'); break;
        }
    }
    assert_int_equal(np_out_error(&out), 0);
}

typedef struct row {
    int op;
    const char *elements;
    bool payload;
    np_ctl_kind kind;
    const char *has; /* fields that are set: f from, t to, r ref, n name, i id, p payload */
} row;

static const row rows[] = {
    {1, "tp", false, NP_CTL_LINK, "ft"},
    {2, "np", true, NP_CTL_SEND, "tp"},
    {3, "tpn", false, NP_CTL_EXIT, "ftp"},
    {4, "tp", false, NP_CTL_UNLINK, "ft"},
    {6, "tnn", true, NP_CTL_REG_SEND, "fnp"},
    {7, "tp", false, NP_CTL_GROUP_LEADER, "ft"},
    {8, "tpn", false, NP_CTL_EXIT2, "ftp"},
    {12, "npT", true, NP_CTL_SEND, "tp"},
    {13, "tpTn", false, NP_CTL_EXIT, "ftp"},
    {16, "tnnT", true, NP_CTL_REG_SEND, "fnp"},
    {18, "tpTn", false, NP_CTL_EXIT2, "ftp"},
    {19, "tpr", false, NP_CTL_MONITOR, "ftr"},
    {19, "tnr", false, NP_CTL_MONITOR, "fnr"},
    {20, "tpr", false, NP_CTL_DEMONITOR, "ftr"},
    {20, "tnr", false, NP_CTL_DEMONITOR, "fnr"},
    {21, "tprn", false, NP_CTL_DOWN, "ftrp"},
    {21, "nprn", false, NP_CTL_DOWN, "ntrp"},
    {22, "tp", true, NP_CTL_SEND, "ftp"},
    {23, "tpT", true, NP_CTL_SEND, "ftp"},
    {24, "tp", true, NP_CTL_EXIT, "ftp"},
    {25, "tpT", true, NP_CTL_EXIT, "ftp"},
    {26, "tp", true, NP_CTL_EXIT2, "ftp"},
    {27, "tpT", true, NP_CTL_EXIT2, "ftp"},
    {28, "tpr", true, NP_CTL_DOWN, "ftrp"},
    {28, "npr", true, NP_CTL_DOWN, "ntrp"},
    {29, "rttml", true, NP_CTL_SPAWN_REQUEST, "frp"},
    {30, "rttmlT", true, NP_CTL_SPAWN_REQUEST, "frp"},
    {31, "rp3t", false, NP_CTL_SPAWN_REPLY, "rtf"},
    {31, "rp0n", false, NP_CTL_SPAWN_REPLY, "rtn"},
    {32, "rp0tT", false, NP_CTL_SPAWN_REPLY, "rtf"},
    {33, "tr", true, NP_CTL_ALIAS_SEND, "frp"},
    {34, "trT", true, NP_CTL_ALIAS_SEND, "frp"},
    {35, "itp", false, NP_CTL_UNLINK_ID, "ift"},
    {36, "itp", false, NP_CTL_UNLINK_ID_ACK, "ift"},
    {37, "0tp", true, NP_CTL_SEND, "ftp"},
    {37, "1tp", true, NP_CTL_SEND, "ftp"},
    {37, "2tpT", true, NP_CTL_SEND, "ftp"},
    {37, "4tr", true, NP_CTL_ALIAS_SEND, "frp"},
    {37, "8tn", true, NP_CTL_REG_SEND, "fnp"},
    {37, "@tp", true, NP_CTL_EXIT2, "ftp"}, /* '@' - '0' is 16 */
    {37, "Dtr", true, NP_CTL_EXIT2, "frp"}, /* 20 */
};

static int decode_row(np_control *c, np_buf *tuple, const char *elements, int op, bool payload, np_buf *names,
                      const char **why) {
    np_in in;
    np_buf_clear(tuple, 0);
    build(tuple, op, elements);
    assert_int_equal(np_term_open(&in, np_buf_head(tuple), np_buf_len(tuple)), 0);
    return decode(c, in, payload ? term_x : no_term, names, why);
}

static void every_row(void **state) {
    (void)state;
    np_buf tuple = NP_BUF_INIT, names = NP_BUF_INIT;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *row = &rows[i];
        np_control c;
        assert_int_equal(decode_row(&c, &tuple, row->elements, row->op, row->payload, &names, NULL), 0);
        np_pid p = us(1), t = them(2);
        np_ref r = ref();
        assert_int_equal(c.kind, row->kind);
        assert_int_equal(!np_pid_none(&c.from), strchr(row->has, 'f') != NULL);
        assert_int_equal(!np_pid_none(&c.to), strchr(row->has, 't') != NULL);
        assert_int_equal(!np_ref_none(&c.ref), strchr(row->has, 'r') != NULL);
        assert_int_equal(c.name.len > 0, strchr(row->has, 'n') != NULL);
        assert_int_equal(c.id != 0, strchr(row->has, 'i') != NULL);
        assert_int_equal(!np_in_at_end(&c.payload), strchr(row->has, 'p') != NULL);
        if (strchr(row->has, 'f') != NULL)
            assert_true(np_pid_eq(&c.from, &t));
        if (strchr(row->has, 't') != NULL)
            assert_true(np_pid_eq(&c.to, &p));
        if (strchr(row->has, 'r') != NULL)
            assert_true(np_ref_eq(&c.ref, &r));
        if (strchr(row->has, 'n') != NULL)
            assert_memory_equal(c.name.data, "name", 4);
        assert_int_equal(c.priority, row->op == 37 && row->elements[0] == '1');
        if (c.kind == NP_CTL_SPAWN_REQUEST) {
            assert_int_equal(c.spawn.arity, 2);
            assert_memory_equal(c.spawn.module.data, "m", c.spawn.module.len);
            assert_memory_equal(c.spawn.function.data, "f", c.spawn.function.len);
            assert_int_equal(np_in_type(&c.spawn.options), NP_TYPE_LIST);
            assert_true(np_pid_eq(&c.leader, &t));
        }
        char text[256];
        assert_true(strlen(np_control_text(&c, text, sizeof text)) > 5);
        assert_int_equal(np_control_text(&c, text, 4)[3], '\0');
    }
    np_buf_fini(&tuple);
    np_buf_fini(&names);
}

/* Each row spoiled: an element replaced by another type, one too few or too many, the payload missing or there. */
static void spoiled(void **state) {
    (void)state;
    np_buf tuple = NP_BUF_INIT, names = NP_BUF_INIT;
    np_control c;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *row = &rows[i];
        char elements[16];
        const char *why;
        size_t n = strlen(row->elements);
        for (size_t at = 0; at < n; at++) {
            char type = row->elements[at];
            /* Any term will do for a token, a reason and the old cookie. */
            bool any = type == 'T' ||
                       (type == 'n' && (row->op == 3 || row->op == 8 || row->op == 13 || row->op == 18)) ||
                       (type == 'n' && at == 3 && row->op == 21) || (at == 0 && (row->op == 2 || row->op == 12)) ||
                       (at == 1 && (row->op == 6 || row->op == 16));
            strcpy(elements, row->elements);
            elements[at] = type == 'm' ? 'l' : 'm';
            why = NULL;
            int rc = decode_row(&c, &tuple, elements, row->op, row->payload, &names, &why);
            assert_int_equal(rc, any ? 0 : NP_EPROTO);
            assert_true((why != NULL) == (rc < 0));
        }
        snprintf(elements, sizeof elements, "%.*s", (int)n - 1, row->elements);
        assert_int_equal(decode_row(&c, &tuple, elements, row->op, row->payload, &names, NULL), NP_EPROTO);
        snprintf(elements, sizeof elements, "%sT", row->elements);
        if (row->op != 37)
            assert_int_equal(decode_row(&c, &tuple, elements, row->op, row->payload, &names, &why), NP_EPROTO);
        assert_int_equal(decode_row(&c, &tuple, row->elements, row->op, !row->payload, &names, &why), NP_EPROTO);
        assert_non_null(strstr(why, "payload"));
    }
    np_buf_fini(&tuple);
    np_buf_fini(&names);
}

static void no_control_tuple(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } table[] = {
#define TUPLE(bytes, why) {bytes, sizeof bytes - 1, why}
        TUPLE("\x6a", "no tuple"),
        TUPLE("\x77\1a", "no tuple"),
        TUPLE("\x68\0", "no tuple"),
        TUPLE("\x68\1\x77\1a", "no tuple"),
        TUPLE("\x68\1\x61\1", "number of elements"),
        TUPLE("\x68\1\x61\0", "unknown opcode"),
        TUPLE("\x68\1\x61\5", "unknown opcode"),
        TUPLE("\x68\1\x61\11", "unknown opcode"),
        TUPLE("\x68\1\x61\x26", "unknown opcode"),
        TUPLE("\x68\1\x61\x63", "unknown opcode"),
        TUPLE("\x68\1\x62\xff\xff\xff\xff", "no tuple"),
        TUPLE("\x68\1\x62\0\1\0\1", "unknown opcode"),
        TUPLE("\x68\2\x61\x25\x61\0", "wrong"), /* ALTACT_SIG with too little */
        TUPLE("\x68\1\x61\x25", "wrong"),
#undef TUPLE
    };
    np_buf names = NP_BUF_INIT;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        np_in in;
        np_control c;
        const char *why = NULL;
        assert_int_equal(np_term_open(&in, (const uint8_t *)table[i].bytes, table[i].len), 0);
        np_in payload = strstr(table[i].why, "wrong") != NULL ? term_x : no_term;
        assert_int_equal(decode(&c, in, payload, &names, &why), NP_EPROTO);
        assert_non_null(strstr(why, table[i].why));
    }
    np_buf_fini(&names);
}

/* Latin-1 atoms, as old and foreign peers send them, become UTF-8; plain ASCII ones are not copied. */
static void legacy_atoms(void **state) {
    (void)state;
    np_buf tuple = NP_BUF_INIT, names = NP_BUF_INIT;
    static const uint8_t short_atom[] = {115, 2, 0xE4, 'x'};
    uint8_t long_atom[3 + 255] = {100, 0, 255};
    np_control c;
    np_in in;
    memset(long_atom + 3, 0xFC, 255);

    build(&tuple, 29, "rtt");
    np_buf_append(&tuple, "\x68\3", 2);
    np_buf_append(&tuple, long_atom, sizeof long_atom);
    np_buf_append(&tuple, short_atom, sizeof short_atom);
    np_buf_append(&tuple, "\x61\0\x6a", 3);
    tuple.data[tuple.off + 1] = 6;
    assert_int_equal(np_term_open(&in, np_buf_head(&tuple), np_buf_len(&tuple)), 0);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(decode(&c, in, term_x, &names, NULL), 0);
        assert_int_equal(c.spawn.module.len, 510);
        for (size_t i = 0; i < 510; i += 2)
            assert_memory_equal(c.spawn.module.data + i, "\xc3\xbc", 2);
        assert_int_equal(c.spawn.function.len, 3);
        assert_memory_equal(c.spawn.function.data, "\xc3\xa4x", 3);
        assert_int_equal(np_buf_len(&names), 513);
    }
    np_buf_clear(&tuple, 0);
    build(&tuple, 6, "tn");
    np_buf_append(&tuple, "\x64\0\3srv", 6);
    tuple.data[tuple.off + 1] = 4;
    assert_int_equal(np_term_open(&in, np_buf_head(&tuple), np_buf_len(&tuple)), 0);
    assert_int_equal(decode(&c, in, term_x, &names, NULL), 0);
    assert_int_equal(c.name.len, 3);
    assert_ptr_equal(c.name.data, np_buf_head(&tuple) + np_buf_len(&tuple) - 3);
    assert_int_equal(np_buf_len(&names), 0);
    np_buf_fini(&tuple);
    np_buf_fini(&names);
}

static void text(void **state) {
    (void)state;
    char buf[200];
    np_control c = sample(NP_CTL_MONITOR);
    c.to = (np_pid){0};
    c.name = str("net_kernel");
    assert_non_null(strstr(np_control_text(&c, buf, sizeof buf), "MONITOR_P <"));
    assert_non_null(strstr(buf, "-> net_kernel"));
    c = sample(NP_CTL_SPAWN_REQUEST);
    assert_non_null(strstr(np_control_text(&c, buf, sizeof buf), "-> m:f/2"));
    c = sample(NP_CTL_DOWN);
    c.name = str("srv");
    assert_non_null(strstr(np_control_text(&c, buf, sizeof buf), "MONITOR_P_EXIT srv -> <"));
}

/* Names of more than 255 bytes need the longer atom: nodes and registered names of 255 characters, four bytes each. */
static void long_names(void **state) {
    (void)state;
    char node[4 * 255 + 1] = "a@", name[4 * 255 + 1];
    for (size_t i = 0; i < 253; i++)
        memcpy(node + 2 + 4 * i, "\xf0\x9f\x98\x80", 5);
    for (size_t i = 0; i < 255; i++)
        memcpy(name + 4 * i, "\xf0\x9f\x98\x80", 5);
    np_control c = sample(NP_CTL_MONITOR), again;
    np_buf out = NP_BUF_INIT, names = NP_BUF_INIT;
    bool has_payload;
    np_in in;
    c.from.node = c.ref.node = np_name_id(node);
    c.name = str(name);
    assert_int_equal(np_control_encode(&c, all_flags, &out, &has_payload), 0);
    assert_int_equal(np_term_open(&in, np_buf_head(&out), np_buf_len(&out)), 0);
    assert_int_equal(decode(&again, in, no_term, &names, NULL), 0);
    assert_true(np_pid_eq(&again.from, &c.from) && np_ref_eq(&again.ref, &c.ref));
    assert_int_equal(again.name.len, 4 * 255);
    assert_memory_equal(again.name.data, name, again.name.len);
    char text[100]; /* too small for it: cut */
    assert_int_equal(strlen(np_control_text(&again, text, sizeof text)), sizeof text - 1);
    np_buf_fini(&out);
    np_buf_fini(&names);
}

/* The last test: it fills the table of node names, as a hostile peer might. */
static void node_names_run_out(void **state) {
    (void)state;
    np_buf tuple = NP_BUF_INIT, names = NP_BUF_INIT;
    np_control c;
    np_node_id id;
    const char *why = NULL;
    build(&tuple, 1, "tp");
    char node[32];
    for (int i = 0, rc = 0; rc == 0; i++) {
        snprintf(node, sizeof node, "filler%d@h", i);
        rc = np_name_intern(node, strlen(node), &id);
    }
    np_in in;
    assert_int_equal(np_term_open(&in, np_buf_head(&tuple), np_buf_len(&tuple)), 0);
    assert_int_equal(decode(&c, in, no_term, &names, NULL), 0); /* those that are known still work */
    uint8_t *at = memmem(tuple.data, tuple.len, "them@h", 6);
    assert_non_null(at);
    memcpy(at, "then@h", 6);
    assert_int_equal(decode(&c, in, no_term, &names, &why), NP_ELIMIT);
    assert_string_equal(why, "too many different node names");
    np_buf_fini(&tuple);
    np_buf_fini(&names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded),
        cmocka_unit_test(forms),
        cmocka_unit_test(names_and_numbers),
        cmocka_unit_test(incomplete),
        cmocka_unit_test(every_row),
        cmocka_unit_test(spoiled),
        cmocka_unit_test(no_control_tuple),
        cmocka_unit_test(legacy_atoms),
        cmocka_unit_test(text),
        cmocka_unit_test(long_names),
        cmocka_unit_test(node_names_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
