/* Log lines: their form, what is escaped, where they are cut, levels and the limiter. */
#include "base/assert.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <regex.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];
static char line[NP_LOG_LINE_MAX + 1];

static int setup(void **state) {
    (void)state;
    if (pipe(ends) != 0)
        return -1;
    np_log_set_fd(ends[1]);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    np_log_set_fd(STDERR_FILENO);
    return close(ends[0]) | close(ends[1]);
}

/* What one write put into the pipe. */
static const char *written(void) {
    ssize_t n = read(ends[0], line, sizeof(line) - 1);
    assert_true(n > 0);
    line[n] = '\0';
    return line;
}

/* The line behind its time. */
static const char *behind_time(void) {
    const char *text = written();
    regex_t time;
    assert_int_equal(
        regcomp(&time, "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z ", REG_EXTENDED),
        0);
    regmatch_t match;
    assert_int_equal(regexec(&time, text, 1, &match, 0), 0);
    regfree(&time);
    return text + match.rm_eo;
}

static void form(void **state) {
    (void)state;
    NP_LOG(NP_LOG_ERROR, "dist/peer", "connection closed", "peer=%s n=%d", "a@h", 3);
    assert_string_equal(behind_time(), "error dist/peer connection closed peer=a@h n=3\n");
    NP_LOG(NP_LOG_EMERGENCY, "x", "no pairs", "%s", "");
    assert_string_equal(behind_time(), "emergency x no pairs\n");
}

static void escaping(void **state) {
    (void)state;
    NP_LOG(NP_LOG_NOTICE, "x", "m", "v=\"%s\"", "a\nb\tc\rd\x1B[31m\x7F é \xC2\x85 \xFF\xC3");
    assert_string_equal(behind_time(), "notice x m v=\"a\\nb\\tc\\rd\\x1B[31m\\x7F é \\xC2\\x85 \\xFF\\xC3\"\n");
}

static void cutting(void **state) {
    (void)state;
    static char text[3 * NP_LOG_LINE_MAX];
    static const char *const pieces[] = {"a", "é", "\n"};
    for (size_t p = 0; p < 3; p++) {
        text[0] = '\0';
        for (size_t i = 0; i < NP_LOG_LINE_MAX; i++)
            strcat(text, pieces[p]);
        NP_LOG(NP_LOG_NOTICE, "x", "m", "%s", text);
        const char *got = written();
        size_t len = strlen(got);
        assert_in_range(len, NP_LOG_LINE_MAX - 8, NP_LOG_LINE_MAX);
        assert_string_equal(got + len - 4, "...\n");
        assert_ptr_equal(strchr(got, '\n'), got + len - 1);
        if (p == 1) /* not inside a character */
            assert_memory_equal(got + len - 6, "é", 2);
    }
}

static int evaluated;

static int evaluate(void) { return ++evaluated; }

static void levels(void **state) {
    (void)state;
    assert_int_equal(np_log_get_level(), NP_LOG_NOTICE);
    NP_LOG(NP_LOG_INFO, "x", "m", "n=%d", evaluate());
    assert_int_equal(evaluated, 0);
    np_log_set_level(NP_LOG_DEBUG);
    NP_LOG(NP_LOG_DEBUG, "x", "m", "n=%d", evaluate());
    assert_string_equal(behind_time(), "debug x m n=1\n");
    np_log_set_level(NP_LOG_NOTICE);
    for (int i = NP_LOG_EMERGENCY; i <= NP_LOG_DEBUG; i++) {
        np_log_level level;
        assert_int_equal(np_log_level_parse(np_log_level_name((np_log_level)i), &level), 0);
        assert_int_equal(level, i);
    }
    np_log_level level;
    assert_int_equal(np_log_level_parse("warn", &level), NP_EINVAL);
    assert_string_equal(np_log_level_name((np_log_level)99), "unknown");
}

static void limiter(void **state) {
    (void)state;
    np_log_limit limit = {.burst = 3};
    int allowed = 0;
    for (uint64_t now = 5000; now < 6000; now += 100)
        allowed += np_log_allowed(&limit, now, "dist");
    assert_int_equal(allowed, 3);
    assert_true(np_log_allowed(&limit, 6000, "dist"));
    assert_string_equal(behind_time(), "warning dist similar lines left out count=7\n");
    assert_true(np_log_allowed(&limit, 6999, "dist"));
    assert_true(np_log_allowed(&limit, 8000, "dist")); /* nothing was left out: no summary */
    NP_LOG(NP_LOG_NOTICE, "x", "end", "%s", "");
    assert_string_equal(behind_time(), "notice x end\n");

    np_log_limit plain = {0};
    allowed = 0;
    for (int i = 0; i < 50; i++)
        allowed += np_log_allowed(&plain, 0, "dist");
    assert_int_equal(allowed, 10);
}

/* A failed assertion says where, and ends the program. */
static void assertion(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        NP_ASSERT(ends[0] < 0);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    const char *text = behind_time();
    const char start[] = "emergency base/assert assertion failed expression=\"ends[0] < 0\" at=";
    assert_memory_equal(text, start, sizeof(start) - 1);
    assert_non_null(strstr(text, "test_log.c:"));
    assert_non_null(strstr(text, " function=assertion\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form),   cmocka_unit_test(escaping), cmocka_unit_test(cutting),
        cmocka_unit_test(levels), cmocka_unit_test(limiter),  cmocka_unit_test(assertion),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
