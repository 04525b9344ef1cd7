/* Empty coverage functions, for a subject built with coverage that runs outside libFuzzer.  Part
 * of the runner, and a small library of its own; never loaded beside libFuzzer. */
#include <stdint.h>

#define STUB(name, type)                                       \
    __attribute__((visibility("default"))) void name(type first); \
    void name(type first) { (void)first; }

#define STUB_OF_TWO(name, type, other)                                       \
    __attribute__((visibility("default"))) void name(type first, other second); \
    void name(type first, other second) { (void)first, (void)second; }

STUB_OF_TWO(__sanitizer_cov_8bit_counters_init, char *, char *)
STUB_OF_TWO(__sanitizer_cov_pcs_init, const uintptr_t *, const uintptr_t *)
STUB_OF_TWO(__sanitizer_cov_trace_cmp1, uint8_t, uint8_t)
STUB_OF_TWO(__sanitizer_cov_trace_cmp2, uint16_t, uint16_t)
STUB_OF_TWO(__sanitizer_cov_trace_cmp4, uint32_t, uint32_t)
STUB_OF_TWO(__sanitizer_cov_trace_cmp8, uint64_t, uint64_t)
STUB_OF_TWO(__sanitizer_cov_trace_const_cmp1, uint8_t, uint8_t)
STUB_OF_TWO(__sanitizer_cov_trace_const_cmp2, uint16_t, uint16_t)
STUB_OF_TWO(__sanitizer_cov_trace_const_cmp4, uint32_t, uint32_t)
STUB_OF_TWO(__sanitizer_cov_trace_const_cmp8, uint64_t, uint64_t)
STUB_OF_TWO(__sanitizer_cov_trace_switch, uint64_t, uint64_t *)
STUB(__sanitizer_cov_trace_div4, uint32_t)
STUB(__sanitizer_cov_trace_div8, uint64_t)
STUB(__sanitizer_cov_trace_gep, uintptr_t)
STUB(__sanitizer_cov_trace_pc_indir, uintptr_t)
