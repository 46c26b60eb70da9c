/* SPDX-License-Identifier: MIT */

/* The two programs that we put into the kernel. There is no compiler behind them: they are short, and what they know of
 * the kernel is known only now. The kernel proves before it takes them that they end and write nowhere but into their own
 * stack and the structure they are run with. Reading cannot fault there: an address without memory is an error.
 *
 * The one that stays, the look, answers nothing but what its structure has room for, and that only of pages of which the
 * kernel says itself that they belong to a dax device: the struct page points to a map of generic device memory, and that
 * map covers the addresses we began with. Whoever takes over a running witness, which has no capability any more, can ask
 * no more than the broker can. */

#include "program.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#define INSTRUCTIONS_MAX 256
#define JUMPS_MAX 64
#define MAP_RANGES_MAX 64
#define BASE_PAGE_SHIFT 12

/* The kernel allows the function only to programs that say they agree with its licence. */
#define PROGRAM_LICENSE "Dual MIT/GPL"

/* ---- A small assembler ----------------------------------------------------------------------------------------------- */

typedef enum Label {
        LABEL_UNREADABLE,
        LABEL_NOT_DAX,
        LABEL_OTHER_PAGE_SIZE,
        LABEL_OUTSIDE,
        LABEL_CHANGED,
        LABEL_RANGE,
        LABEL_NEXT_RANGE,
        LABEL_INSIDE,
        LABEL_PAGE,
        LABEL_NO_PINS,
        LABEL_DONE,
        LABEL_MAX,
} Label;

typedef struct Program {
        struct bpf_insn code[INSTRUCTIONS_MAX];
        size_t n;
        size_t labels[LABEL_MAX]; /* where the label stands */
        struct {
                size_t from;
                Label to;
        } jumps[JUMPS_MAX];
        size_t n_jumps;
        bool overflow;
} Program;

static void emit(Program *p, uint8_t code, uint8_t to, uint8_t from, int16_t offset, int32_t number) {
        if (p->n == INSTRUCTIONS_MAX) {
                p->overflow = true;
                return;
        }
        p->code[p->n++] = (struct bpf_insn){
                .code = code, .dst_reg = to & 0xf, .src_reg = from & 0xf, .off = offset, .imm = number };
}

static void label(Program *p, Label label_) {
        p->labels[label_] = p->n;
}

static void jump(Program *p, uint8_t condition, uint8_t a, uint8_t b, int32_t number, Label to) {
        if (p->n_jumps == JUMPS_MAX) {
                p->overflow = true;
                return;
        }
        p->jumps[p->n_jumps].from = p->n;
        p->jumps[p->n_jumps++].to = to;
        emit(p, BPF_JMP | condition, a, b, 0, number);
}

#define jump_number(p, condition, a, number, to) jump(p, (condition) | BPF_K, a, 0, number, to)
#define jump_register(p, condition, a, b, to) jump(p, (condition) | BPF_X, a, b, 0, to)
#define compute_number(p, operation, a, number) emit(p, BPF_ALU64 | (operation) | BPF_K, a, 0, 0, number)
#define compute(p, operation, a, b) emit(p, BPF_ALU64 | (operation) | BPF_X, a, b, 0, 0)
#define load(p, size, to, from, offset) emit(p, BPF_LDX | BPF_MEM | (size), to, from, (int16_t) (offset), 0)
#define store(p, size, to, offset, from) emit(p, BPF_STX | BPF_MEM | (size), to, from, (int16_t) (offset), 0)

static void set_constant(Program *p, uint8_t to, uint64_t value) {
        emit(p, BPF_LD | BPF_IMM | BPF_DW, to, 0, 0, (int32_t) (uint32_t) value);
        emit(p, 0, 0, 0, 0, (int32_t) (uint32_t) (value >> 32));
}

/* Where on the stack things are. */
enum {
        STACK_START = -8, /* first and last address in question */
        STACK_LAST = -16,
        STACK_STEP = -24, /* from one page's struct to the next one's */
        STACK_N_RANGES = -32,
        STACK_WORD = -40,
        STACK_RANGE = -56,
        STACK_PAGE = -120,
};

/* Copies from the kernel's memory at register + offset to the stack. Registers 0 to 5 are lost. */
static void emit_read(Program *p, int32_t stack, uint32_t size, uint8_t from, uint32_t offset) {
        compute(p, BPF_MOV, BPF_REG_3, from);
        compute_number(p, BPF_ADD, BPF_REG_3, (int32_t) offset);
        compute(p, BPF_MOV, BPF_REG_1, BPF_REG_10);
        compute_number(p, BPF_ADD, BPF_REG_1, stack);
        compute_number(p, BPF_MOV, BPF_REG_2, (int32_t) size);
        emit(p, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel);
        jump_number(p, BPF_JNE, BPF_REG_0, 0, LABEL_UNREADABLE);
}

static void emit_end(Program *p) {
        compute_number(p, BPF_MOV, BPF_REG_0, 0);
        emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int program_finish(Program *p, const char *name) {
        LIBBPF_OPTS(bpf_prog_load_opts, options, .prog_flags = BPF_F_SLEEPABLE);

        if (p->overflow)
                return -E2BIG;
        for (size_t i = 0; i < p->n_jumps; i++)
                p->code[p->jumps[i].from].off = (int16_t) ((ptrdiff_t) p->labels[p->jumps[i].to] -
                                                           (ptrdiff_t) p->jumps[i].from - 1);

        return bpf_prog_load(BPF_PROG_TYPE_SYSCALL, name, PROGRAM_LICENSE, p->code, p->n, &options);
}

/* ---- The look -------------------------------------------------------------------------------------------------------- */

/* What registers hold throughout. */
enum {
        LOOK = BPF_REG_6,
        PAGE = BPF_REG_7, /* address of a struct page */
        I = BPF_REG_8,
        MAP = BPF_REG_9, /* address of the struct dev_pagemap */
};

#define load_field(p, to, field) load(p, BPF_DW, to, LOOK, offsetof(Look, field))
#define store_field(p, field, from) store(p, BPF_DW, LOOK, offsetof(Look, field), from)

static void emit_read_page(Program *p, const Layout *layout) {
        emit_read(p, STACK_PAGE, layout->page_size, PAGE, 0);
}

/* Into register 1. */
static void emit_references(Program *p, const Layout *layout) {
        load(p, BPF_W, BPF_REG_1, BPF_REG_10, STACK_PAGE + (int) layout->page_references);
        compute_number(p, BPF_LSH, BPF_REG_1, 32);
        compute_number(p, BPF_ARSH, BPF_REG_1, 32);
}

/* The struct of the first page, and from it the map; and the addresses that it is about. */
static void emit_begin(Program *p, const Layout *layout, uint64_t pages_address) {
        compute(p, BPF_MOV, LOOK, BPF_REG_1);
        load_field(p, PAGE, first);
        compute_number(p, BPF_MUL, PAGE, (int32_t) layout->page_size);
        set_constant(p, BPF_REG_1, pages_address);
        compute(p, BPF_ADD, PAGE, BPF_REG_1);

        emit_read_page(p, layout);
        load(p, BPF_DW, MAP, BPF_REG_10, STACK_PAGE + (int) layout->page_map);
        emit_references(p, layout);
        store_field(p, references, BPF_REG_1);

        load_field(p, BPF_REG_1, first);
        load_field(p, BPF_REG_2, count);
        load_field(p, BPF_REG_3, order);
        compute(p, BPF_LSH, BPF_REG_2, BPF_REG_3);
        compute(p, BPF_ADD, BPF_REG_2, BPF_REG_1);
        compute_number(p, BPF_LSH, BPF_REG_1, BASE_PAGE_SHIFT);
        compute_number(p, BPF_LSH, BPF_REG_2, BASE_PAGE_SHIFT);
        compute_number(p, BPF_SUB, BPF_REG_2, 1);
        store(p, BPF_DW, BPF_REG_10, STACK_START, BPF_REG_1);
        store(p, BPF_DW, BPF_REG_10, STACK_LAST, BPF_REG_2);
}

/* Whether that is such a map as a dax device has, and covers the addresses. Of a page that is no device's the pointer is
 * something else, and what it points to is compared all the same; a mere accident does not contain these addresses. */
static void emit_check_map(Program *p, const Layout *layout) {
        emit_read(p, STACK_WORD, 4, MAP, layout->map_type);
        load(p, BPF_W, BPF_REG_1, BPF_REG_10, STACK_WORD);
        jump_number(p, BPF_JNE, BPF_REG_1, (int32_t) layout->type_generic, LABEL_NOT_DAX);

        emit_read(p, STACK_N_RANGES, 4, MAP, layout->map_n_ranges);
        compute_number(p, BPF_MOV, I, 0);
        label(p, LABEL_RANGE);
        jump_number(p, BPF_JGE, I, MAP_RANGES_MAX, LABEL_OUTSIDE);
        load(p, BPF_W, BPF_REG_1, BPF_REG_10, STACK_N_RANGES);
        jump_register(p, BPF_JGE, I, BPF_REG_1, LABEL_OUTSIDE);
        compute(p, BPF_MOV, BPF_REG_4, I);
        compute_number(p, BPF_LSH, BPF_REG_4, 4);
        compute(p, BPF_ADD, BPF_REG_4, MAP);
        emit_read(p, STACK_RANGE, 16, BPF_REG_4, layout->map_ranges);
        load(p, BPF_DW, BPF_REG_1, BPF_REG_10, STACK_START);
        load(p, BPF_DW, BPF_REG_2, BPF_REG_10, STACK_RANGE);
        jump_register(p, BPF_JLT, BPF_REG_1, BPF_REG_2, LABEL_NEXT_RANGE);
        load(p, BPF_DW, BPF_REG_1, BPF_REG_10, STACK_LAST);
        load(p, BPF_DW, BPF_REG_2, BPF_REG_10, STACK_RANGE + 8);
        jump_register(p, BPF_JLE, BPF_REG_1, BPF_REG_2, LABEL_INSIDE);
        label(p, LABEL_NEXT_RANGE);
        compute_number(p, BPF_ADD, I, 1);
        jump_number(p, BPF_JA, 0, 0, LABEL_RANGE);

        label(p, LABEL_INSIDE);
        emit_read(p, STACK_WORD, 8, MAP, layout->map_order);
        load(p, BPF_DW, BPF_REG_1, BPF_REG_10, STACK_WORD);
        load_field(p, BPF_REG_2, order);
        jump_register(p, BPF_JNE, BPF_REG_1, BPF_REG_2, LABEL_OTHER_PAGE_SIZE);
}

/* Adds the sign of what is in the register to a field. Not a jump, since the kernel follows both ways of each. */
static void emit_count_if_negative(Program *p, uint8_t from, size_t field) {
        compute_number(p, BPF_RSH, from, 63);
        load(p, BPF_DW, BPF_REG_0, LOOK, field);
        compute(p, BPF_ADD, BPF_REG_0, from);
        store(p, BPF_DW, LOOK, field, BPF_REG_0);
}

static void emit_count_page(Program *p, const Layout *layout) {
        emit_references(p, layout);
        load_field(p, BPF_REG_2, idle);
        compute(p, BPF_MOV, BPF_REG_3, BPF_REG_2);
        compute(p, BPF_SUB, BPF_REG_3, BPF_REG_1);
        emit_count_if_negative(p, BPF_REG_3, offsetof(Look, n_above));
        compute(p, BPF_SUB, BPF_REG_1, BPF_REG_2);
        emit_count_if_negative(p, BPF_REG_1, offsetof(Look, n_below));

        if (layout->page_pins == 0)
                return;
        load_field(p, BPF_REG_1, order);
        jump_number(p, BPF_JEQ, BPF_REG_1, 0, LABEL_NO_PINS);
        emit_read(p, STACK_WORD, 4, PAGE, layout->page_pins);
        load(p, BPF_W, BPF_REG_1, BPF_REG_10, STACK_WORD);
        emit(p, BPF_ALU64 | BPF_NEG, BPF_REG_1, 0, 0, 0);
        emit_count_if_negative(p, BPF_REG_1, offsetof(Look, n_pinned));
        label(p, LABEL_NO_PINS);
}

static void emit_pages(Program *p, const Layout *layout) {
        compute_number(p, BPF_MOV, BPF_REG_1, (int32_t) layout->page_size);
        load_field(p, BPF_REG_2, order);
        compute(p, BPF_LSH, BPF_REG_1, BPF_REG_2);
        store(p, BPF_DW, BPF_REG_10, STACK_STEP, BPF_REG_1);

        compute_number(p, BPF_MOV, I, 0);
        label(p, LABEL_PAGE);
        load_field(p, BPF_REG_1, count);
        jump_register(p, BPF_JGE, I, BPF_REG_1, LABEL_DONE);
        jump_number(p, BPF_JGE, I, LOOK_PAGES_MAX, LABEL_OUTSIDE);

        emit_read_page(p, layout);
        load(p, BPF_DW, BPF_REG_1, BPF_REG_10, STACK_PAGE + (int) layout->page_map);
        jump_register(p, BPF_JNE, BPF_REG_1, MAP, LABEL_CHANGED);
        emit_count_page(p, layout);

        load(p, BPF_DW, BPF_REG_1, BPF_REG_10, STACK_STEP);
        compute(p, BPF_ADD, PAGE, BPF_REG_1);
        compute_number(p, BPF_ADD, I, 1);
        jump_number(p, BPF_JA, 0, 0, LABEL_PAGE);
}

static void emit_outcome(Program *p, Label at, LookOutcome outcome) {
        label(p, at);
        compute_number(p, BPF_MOV, BPF_REG_1, outcome);
        store_field(p, outcome, BPF_REG_1);
        emit_end(p);
}

int program_load(const Layout *layout, uint64_t pages_address) {
        Program p = { 0 };

        emit_begin(&p, layout, pages_address);
        emit_check_map(&p, layout);
        emit_pages(&p, layout);
        emit_outcome(&p, LABEL_DONE, LOOK_DONE);
        emit_outcome(&p, LABEL_UNREADABLE, LOOK_UNREADABLE);
        emit_outcome(&p, LABEL_NOT_DAX, LOOK_NOT_DAX);
        emit_outcome(&p, LABEL_OTHER_PAGE_SIZE, LOOK_OTHER_PAGE_SIZE);
        emit_outcome(&p, LABEL_OUTSIDE, LOOK_OUTSIDE);
        emit_outcome(&p, LABEL_CHANGED, LOOK_CHANGED);

        return program_finish(&p, "daxbroker_look");
}

int program_look(int program_fd, Look *look) {
        LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = look, .ctx_size_in = sizeof(*look));

        look->outcome = LOOK_UNREADABLE;
        look->references = 0;
        look->n_above = look->n_below = look->n_pinned = 0;
        return bpf_prog_test_run_opts(program_fd, &options);
}

/* ---- The peek -------------------------------------------------------------------------------------------------------- */

typedef struct Peek {
        uint64_t address, value, done;
} Peek;

int program_peek(uint64_t address, uint64_t *ret) {
        Peek peek = { .address = address };
        LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &peek, .ctx_size_in = sizeof(peek));
        Program p = { 0 };
        int fd, r;

        compute(&p, BPF_MOV, BPF_REG_6, BPF_REG_1);
        load(&p, BPF_DW, BPF_REG_7, BPF_REG_6, offsetof(Peek, address));
        emit_read(&p, STACK_WORD, 8, BPF_REG_7, 0);
        load(&p, BPF_DW, BPF_REG_1, BPF_REG_10, STACK_WORD);
        store(&p, BPF_DW, BPF_REG_6, offsetof(Peek, value), BPF_REG_1);
        compute_number(&p, BPF_MOV, BPF_REG_1, 1);
        store(&p, BPF_DW, BPF_REG_6, offsetof(Peek, done), BPF_REG_1);
        label(&p, LABEL_UNREADABLE);
        emit_end(&p);

        fd = program_finish(&p, "daxbroker_peek");
        if (fd < 0)
                return fd;
        r = bpf_prog_test_run_opts(fd, &options);
        (void) close(fd);
        if (r < 0)
                return r;
        if (!peek.done)
                return -EFAULT;

        *ret = peek.value;
        return 0;
}
