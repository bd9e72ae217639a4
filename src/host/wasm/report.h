/*
 * report.h: what the core reports, as JSON: the counterpart of ../node/values.h, with the same
 * names.  [the only thread]
 */
#ifndef OA_HOST_WASM_REPORT_H
#define OA_HOST_WASM_REPORT_H

#include "oa.h"

/* Write the keys of the configuration, the statuses, and the versions of the libraries. */
void oa_report_module(void);

void oa_report_stats(const oa_stats *stats);

/* Write the arguments of the handler of a notice: an array; of a flush, its ticket and report. */
void oa_report_notice(const oa_notice *notice);

/* Write the parts of a question to the store, or of what is to be written to it. */
void oa_report_store(const oa_store_part *parts, size_t count);

#endif
