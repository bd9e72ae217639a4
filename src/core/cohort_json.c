/*
 * cohort_json.c: the ids of a JSON body, byte by byte.  [one owner]
 *
 * Two small machines, one inside the other. The inner one finds tokens: strings (with escapes),
 * scalars (numbers, true, false, null) and punctuation. The outer one knows which token may follow
 * which, and what a string is for: a name or a value of the outermost object, an id, or nothing. An
 * id that is whole in the present piece and has no escape is lent from there, without a copy.
 *
 * A body is an object with an array `memberIds`, or an array of ids. Whatever else it has is
 * checked as JSON and skipped. Anything but a string in the array of ids is an error: a cohort
 * that would lose members that way is better not loaded.
 *
 * A message of a webhook is an object, too, with an array `users` of objects, of which each has its
 * id in `user_id`.
 */
#include "cohort_read.h"

enum token { BETWEEN, STRING, ESCAPE, HEX, SCALAR };

enum expect { A_VALUE, A_VALUE_OR_END, A_KEY, A_KEY_OR_END, A_COLON, A_COMMA_OR_END, NOTHING };

enum role { SKIPPED, KEY, VALUE, ID };

enum field {
    OTHER,
    COHORT_ID,
    GROUP_TYPE,
    LAST_MODIFIED,
    LAST_COMPUTED,
    SIZE,
    IDS, /* memberIds, or the users of a message */
    IN_COHORT,
    COMPUTED_TIME,
    MESSAGE_ID,
    USER_ID, /* of one of the users */
};

enum { MAX_DEPTH = 64, MAX_SCALAR_BYTES = 64 };

typedef struct named_field {
    const char *name; /* NULL: the end of a list */
    enum field field;
} named_field;

static const named_field COHORT_FIELDS[] = {
    {"cohortId", COHORT_ID},
    {"groupType", GROUP_TYPE},
    {"lastModified", LAST_MODIFIED},
    {"lastComputed", LAST_COMPUTED},
    {"size", SIZE},
    {"memberIds", IDS},
    {NULL, OTHER},
};

static const named_field MESSAGE_FIELDS[] = {
    {"cohort_id", COHORT_ID},   {"in_cohort", IN_COHORT}, {"computed_time", COMPUTED_TIME},
    {"message_id", MESSAGE_ID}, {"users", IDS},           {NULL, OTHER},
};

static const named_field USER_FIELDS[] = {{"user_id", USER_ID}, {NULL, OTHER}};

void oa_cohort_json_init(oa_cohort_json *json, oa_cohort_meta *meta) {
    *json = (oa_cohort_json){.meta = meta, .token = BETWEEN, .expect = A_VALUE};
    meta->size = -1;
}

void oa_cohort_json_init_message(oa_cohort_json *json, oa_cohort_head *head) {
    *json = (oa_cohort_json){.head = head, .token = BETWEEN, .expect = A_VALUE};
    head->in_cohort = -1;
    head->computed_time = -1;
}

static oa_cohort_step wrong(oa_cohort_json *json, const char *problem) {
    json->problem = problem;
    return OA_COHORT_WRONG;
}

static bool in_array(const oa_cohort_json *json) {
    return json->depth > 0 && (json->arrays >> (json->depth - 1) & 1) != 0;
}

/* Whether the array of ids, or of users, is the innermost that is open. */
static bool in_list(const oa_cohort_json *json) {
    return json->ids_depth != 0 && json->depth == json->ids_depth;
}

static bool in_ids(const oa_cohort_json *json) { return json->head == NULL && in_list(json); }

static bool in_users(const oa_cohort_json *json) { return json->head != NULL && in_list(json); }

/* Whether the object of a user is the innermost that is open. */
static bool in_user(const oa_cohort_json *json) {
    return json->head != NULL && json->ids_depth != 0 && json->depth == json->ids_depth + 1;
}

static oa_cohort_step no_list(oa_cohort_json *json) {
    return wrong(json, json->head == NULL ? "memberIds is no array" : "users is no array");
}

static bool may_be_value(const oa_cohort_json *json) {
    return json->expect == A_VALUE || json->expect == A_VALUE_OR_END;
}

/* A value is over. */
static void after_value(oa_cohort_json *json) {
    json->expect = json->depth == 0 ? NOTHING : A_COMMA_OR_END;
    json->field = OTHER;
}

/* ---- The fields of the body ---- */

static enum field field_of(const named_field *fields, const oa_cohort_text *name) {
    for (; fields->name != NULL; fields++) {
        if (strlen(fields->name) == name->len && memcmp(fields->name, name->bytes, name->len) == 0)
            return fields->field;
    }
    return OTHER;
}

/* Which field a name is that was read just now. */
static enum field field_here(const oa_cohort_json *json) {
    if (json->depth == 1)
        return field_of(json->head == NULL ? COHORT_FIELDS : MESSAGE_FIELDS, &json->text);
    return in_user(json) ? field_of(USER_FIELDS, &json->text) : OTHER;
}

/* Copy a short text; one that is too long is left out. */
static void set_name(char *out, size_t max_len, const oa_cohort_text *text) {
    const size_t len = text->len <= max_len ? text->len : 0;
    memcpy(out, text->bytes, len);
    out[len] = '\0';
}

static void set_number(oa_cohort_json *json, int64_t number) {
    if (json->field == LAST_MODIFIED)
        json->meta->last_modified = number;
    else if (json->field == LAST_COMPUTED)
        json->meta->last_computed = number;
    else if (json->field == SIZE)
        json->meta->size = number;
    else if (json->field == COMPUTED_TIME)
        json->head->computed_time = number;
}

/* ---- Scalars ---- */

static bool is(const oa_cohort_text *text, const char *literal) {
    return text->len == strlen(literal) && memcmp(text->bytes, literal, text->len) == 0;
}

/* Read digits from *at on; false if there is none. What does not fit stops at 2^62. */
static bool digits(const oa_cohort_text *text, size_t *at, int64_t *out) {
    const size_t begin = *at;
    for (; *at < text->len && text->bytes[*at] >= '0' && text->bytes[*at] <= '9'; ++*at) {
        const int64_t max = INT64_C(1) << 62;
        *out = *out > max / 10 - 1 ? max : *out * 10 + (text->bytes[*at] - '0');
    }
    return *at > begin;
}

/*
 * Read a number as RFC 8259 section 6 has it; its fraction is cut off. One with an exponent is
 * checked, and leaves *out as it is.
 */
static bool number_of(const oa_cohort_text *text, int64_t *out) {
    size_t at = text->len > 0 && text->bytes[0] == '-';
    const bool is_negative = at > 0;
    const bool has_zero = at < text->len && text->bytes[at] == '0';
    const size_t begin = at;
    bool has_exponent = false;
    int64_t whole = 0, ignored = 0;
    if (!digits(text, &at, &whole) || (has_zero && at > begin + 1))
        return false;
    if (at < text->len && text->bytes[at] == '.' && (at++, !digits(text, &at, &ignored)))
        return false;
    if (at < text->len && (text->bytes[at] | 0x20) == 'e') {
        at++;
        at += at < text->len && (text->bytes[at] == '+' || text->bytes[at] == '-');
        has_exponent = true;
        if (!digits(text, &at, &ignored))
            return false;
    }
    if (!has_exponent)
        *out = is_negative ? -whole : whole;
    return at == text->len;
}

static oa_cohort_step end_scalar(oa_cohort_json *json) {
    json->token = BETWEEN;
    int64_t number = -1;
    const bool is_null = is(&json->text, "null");
    const bool is_true = is(&json->text, "true");
    const bool is_boolean = is_true || is(&json->text, "false");
    if (number_of(&json->text, &number))
        set_number(json, number);
    else if (!is_null && !is_boolean)
        return wrong(json, "a value that is not JSON");
    if (in_ids(json))
        return wrong(json, "an id that is no string");
    if (in_users(json))
        return wrong(json, "a user that is no object");
    if (json->field == IDS) {
        if (!is_null || json->head != NULL)
            return no_list(json);
        json->ids_are_null = true;
    }
    if (json->field == IN_COHORT) {
        if (!is_boolean)
            return wrong(json, "in_cohort is neither true nor false");
        json->head->in_cohort = is_true;
    }
    const bool is_id = json->field == USER_ID;
    if (is_id && !is_null)
        return wrong(json, "a user_id that is no string");
    after_value(json);
    return is_id ? OA_COHORT_NO_ID : OA_COHORT_MORE;
}

static bool is_scalar_byte(unsigned char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
           c == '+' || c == '.';
}

static oa_cohort_step in_scalar(oa_cohort_json *json, oa_str *bytes) {
    size_t len = 0;
    while (len < bytes->len && is_scalar_byte((unsigned char)bytes->data[len]))
        len++;
    oa_cohort_text_add(&json->text, bytes->data, len);
    bytes->data += len;
    bytes->len -= len;
    if (json->text.len > MAX_SCALAR_BYTES)
        return wrong(json, "a value that is not JSON");
    return bytes->len == 0 ? OA_COHORT_MORE : end_scalar(json);
}

/* ---- Strings ---- */

/* The name of a field is over. */
static oa_cohort_step end_key(oa_cohort_json *json) {
    json->field = (uint8_t)field_here(json);
    json->expect = A_COLON;
    if (json->field == IDS && (json->has_ids || json->ids_are_null))
        return wrong(json,
                     json->head == NULL ? "memberIds is there twice" : "users is there twice");
    if (json->field == USER_ID && json->has_user_id)
        return wrong(json, "a user_id is there twice");
    json->has_user_id |= json->field == USER_ID;
    return OA_COHORT_MORE;
}

/* The value of a field is over; false if it may not be a string. */
static bool set_text(oa_cohort_json *json) {
    oa_cohort_head *head = json->head;
    size_t at = 0;
    switch (json->field) {
    case COHORT_ID:
        set_name(head == NULL ? json->meta->cohort_id : head->cohort_id, OA_COHORT_NAME_BYTES,
                 &json->text);
        return true;
    case GROUP_TYPE:
        set_name(json->meta->group_type, OA_COHORT_NAME_BYTES, &json->text);
        return true;
    case MESSAGE_ID:
        set_name(head->message_id, OA_COHORT_MESSAGE_ID_BYTES, &json->text);
        return true;
    case COMPUTED_TIME: {
        int64_t seconds = 0;
        if (json->text.len <= MAX_SCALAR_BYTES && digits(&json->text, &at, &seconds) &&
            at == json->text.len)
            head->computed_time = seconds;
        return true;
    }
    default:
        return json->field != IDS && json->field != IN_COHORT;
    }
}

/* A string is over, and is in *text, as far as it is kept. */
static oa_cohort_step end_string(oa_cohort_json *json) {
    json->token = BETWEEN;
    if (json->role == KEY)
        return end_key(json);
    if (!set_text(json))
        return json->field == IDS ? no_list(json)
                                  : wrong(json, "in_cohort is neither true nor false");
    const oa_cohort_step step =
        json->role == ID ? oa_cohort_step_of(json->text.len) : OA_COHORT_MORE;
    after_value(json);
    return step;
}

static void begin_string(oa_cohort_json *json) {
    json->token = STRING;
    json->text.len = 0;
    json->high = 0;
    if (!may_be_value(json))
        json->role = KEY;
    else if (in_ids(json) || json->field == USER_ID)
        json->role = ID;
    else
        json->role = json->field == OTHER ? SKIPPED : VALUE;
}

static void add_code_point(oa_cohort_json *json, uint32_t c) {
    char utf8[4];
    size_t len = 0;
    if (c < 0x80) {
        utf8[len++] = (char)c;
    } else if (c < 0x800) {
        utf8[len++] = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        utf8[len++] = (char)(0xe0 | c >> 12);
        utf8[len++] = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        utf8[len++] = (char)(0xf0 | c >> 18);
        utf8[len++] = (char)(0x80 | (c >> 12 & 0x3f));
        utf8[len++] = (char)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80)
        utf8[len++] = (char)(0x80 | (c & 0x3f));
    oa_cohort_text_add(&json->text, utf8, len);
}

/* A high surrogate without a low one, or the reverse, is what JavaScript makes of it in UTF-8. */
static void end_surrogate(oa_cohort_json *json) {
    if (json->high != 0)
        add_code_point(json, 0xfffd);
    json->high = 0;
}

static void end_unit(oa_cohort_json *json) {
    const uint32_t unit = json->unit;
    json->token = STRING;
    if (unit >= 0xdc00 && unit <= 0xdfff && json->high != 0) {
        add_code_point(json, 0x10000 + ((json->high - 0xd800U) << 10) + (unit - 0xdc00));
        json->high = 0;
        return;
    }
    end_surrogate(json);
    if (unit >= 0xd800 && unit <= 0xdbff)
        json->high = (uint16_t)unit;
    else
        add_code_point(json, unit >= 0xdc00 && unit <= 0xdfff ? 0xfffd : unit);
}

/* One byte behind a backslash. */
static oa_cohort_step in_escape(oa_cohort_json *json, unsigned char c) {
    static const char NAMES[] = "\"\\/bfnrt", MEANS[] = "\"\\/\b\f\n\r\t";
    if (json->token == ESCAPE) {
        const char *name = c == '\0' ? NULL : strchr(NAMES, c);
        json->token = c == 'u' ? HEX : STRING;
        json->unit = 0;
        json->hex_digits = 0;
        if (c == 'u')
            return OA_COHORT_MORE;
        end_surrogate(json);
        if (name == NULL)
            return wrong(json, "an escape that is not JSON");
        oa_cohort_text_add(&json->text, &MEANS[name - NAMES], 1);
        return OA_COHORT_MORE;
    }
    const unsigned char lower = c | 0x20;
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && (lower < 'a' || lower > 'f'))
        return wrong(json, "an escape that is not JSON");
    json->unit = (uint16_t)(json->unit << 4 | (is_digit ? c - '0' : lower - 'a' + 10));
    if (++json->hex_digits == 4)
        end_unit(json);
    return OA_COHORT_MORE;
}

/* Bytes of a word that are below 0x20, a quote or a backslash, as their upper bits. */
static inline uint64_t specials(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    const uint64_t quotes = word ^ ones * '"', slashes = word ^ ones * '\\';
    return ((quotes - ones) | (slashes - ones) | (word - ones * 0x20)) & ~word & tops;
}

/* Return how many bytes there are before the first special one. */
static size_t plain_len(const char *data, size_t len) {
    size_t at = 0;
    for (; len - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        if (specials(word) != 0)
            break;
    }
    while (at < len && (unsigned char)data[at] >= 0x20 && data[at] != '"' && data[at] != '\\')
        at++;
    return at;
}

static oa_cohort_step in_string(oa_cohort_json *json, oa_str *bytes, oa_str *id) {
    const char *begin = bytes->data;
    const size_t len = plain_len(begin, bytes->len);
    if (len > 0 || begin[len] != '\\')
        end_surrogate(json);
    const bool is_lent =
        len < bytes->len && begin[len] == '"' && json->role == ID && json->text.len == 0;
    if (!is_lent && json->role != SKIPPED)
        oa_cohort_text_add(&json->text, begin, len);
    bytes->data += len;
    bytes->len -= len;
    if (bytes->len == 0)
        return OA_COHORT_MORE;
    const char c = *bytes->data++;
    bytes->len--;
    if (c == '\\') {
        json->token = ESCAPE;
        return OA_COHORT_MORE;
    }
    if (c != '"')
        return wrong(json, "a control character in a string");
    if (is_lent) {
        *id = (oa_str){begin, len};
        json->token = BETWEEN;
        after_value(json);
        return oa_cohort_step_of(len);
    }
    *id = (oa_str){json->text.bytes, json->text.len};
    return end_string(json);
}

/* ---- Punctuation ---- */

static oa_cohort_step open_bracket(oa_cohort_json *json, bool is_array) {
    if (in_ids(json))
        return wrong(json, "an id that is no string");
    if (in_users(json) && is_array)
        return wrong(json, "a user that is no object");
    if (json->field == USER_ID)
        return wrong(json, "a user_id that is no string");
    if (json->field == IN_COHORT)
        return wrong(json, "in_cohort is neither true nor false");
    if (json->depth == MAX_DEPTH)
        return wrong(json, "nested too deeply");
    if (json->field == IDS && !is_array)
        return no_list(json);
    if (json->head != NULL && json->depth == 0 && is_array)
        return wrong(json, "it is an array; Amplitude's default payload is an object");
    const bool has_ids = is_array && (json->depth == 0 || json->field == IDS);
    json->has_user_id = json->has_user_id && !in_users(json);
    const uint64_t bit = UINT64_C(1) << json->depth;
    json->arrays = is_array ? json->arrays | bit : json->arrays & ~bit;
    json->depth++;
    json->field = OTHER;
    json->expect = is_array ? A_VALUE_OR_END : A_KEY_OR_END;
    if (has_ids) {
        json->has_ids = true;
        json->ids_depth = json->depth;
    }
    return OA_COHORT_MORE;
}

static oa_cohort_step close_bracket(oa_cohort_json *json, bool is_array) {
    const uint8_t empty = is_array ? A_VALUE_OR_END : A_KEY_OR_END;
    if (json->depth == 0 || in_array(json) != is_array ||
        (json->expect != A_COMMA_OR_END && json->expect != empty))
        return wrong(json, "a bracket where none may be");
    if (in_list(json))
        json->ids_depth = 0;
    const bool is_nobody = in_user(json) && !json->has_user_id;
    json->depth--;
    after_value(json);
    return is_nobody ? OA_COHORT_NO_ID : OA_COHORT_MORE;
}

static oa_cohort_step begin_token(oa_cohort_json *json, unsigned char c) {
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        return OA_COHORT_MORE;
    case '"':
        if (!may_be_value(json) && json->expect != A_KEY && json->expect != A_KEY_OR_END)
            return wrong(json, "a string where none may be");
        if (in_users(json))
            return wrong(json, "a user that is no object");
        begin_string(json);
        return OA_COHORT_MORE;
    case ',':
        if (json->expect != A_COMMA_OR_END)
            return wrong(json, "a comma where none may be");
        json->expect = in_array(json) ? A_VALUE : A_KEY;
        return OA_COHORT_MORE;
    case ':':
        if (json->expect != A_COLON)
            return wrong(json, "a colon where none may be");
        json->expect = A_VALUE;
        return OA_COHORT_MORE;
    case '{':
    case '[':
        return may_be_value(json) ? open_bracket(json, c == '[')
                                  : wrong(json, "a bracket where none may be");
    case '}':
    case ']':
        return close_bracket(json, c == ']');
    default:
        if (!may_be_value(json) || !is_scalar_byte(c))
            return wrong(json, json->depth == 0 && json->expect == A_VALUE
                                   ? "the body is not JSON"
                                   : "a character where none may be");
        json->token = SCALAR;
        json->text.len = 0;
        return OA_COHORT_MORE;
    }
}

oa_cohort_step oa_cohort_json_next(oa_cohort_json *json, oa_str *bytes, oa_str *id) {
    oa_cohort_step step = json->problem == NULL ? OA_COHORT_MORE : OA_COHORT_WRONG;
    while (step == OA_COHORT_MORE && bytes->len > 0) {
        if (json->token == STRING) {
            step = in_string(json, bytes, id);
        } else if (json->token == SCALAR) {
            step = in_scalar(json, bytes);
        } else {
            const unsigned char c = (unsigned char)*bytes->data;
            step = json->token == BETWEEN ? begin_token(json, c) : in_escape(json, c);
            if (json->token != SCALAR) {
                bytes->data++;
                bytes->len--;
            }
        }
    }
    return step;
}

static oa_cohort_step end_message(oa_cohort_json *json) {
    if (json->head->cohort_id[0] == '\0')
        return wrong(json, "the body has no cohort_id");
    if (json->head->in_cohort < 0)
        return wrong(json, "the body has no in_cohort");
    if (json->head->computed_time < 0)
        return wrong(json, "the body has no computed_time in seconds");
    return json->has_ids ? OA_COHORT_MORE : wrong(json, "the body has no users");
}

oa_cohort_step oa_cohort_json_end(oa_cohort_json *json) {
    if (json->problem != NULL)
        return OA_COHORT_WRONG;
    if (json->token == SCALAR && end_scalar(json) == OA_COHORT_WRONG)
        return OA_COHORT_WRONG;
    if (json->token != BETWEEN || json->expect != NOTHING)
        return wrong(json, "the body ends early");
    if (json->head != NULL)
        return end_message(json);
    /* An error may have the id of the cohort, too, and must not empty it. */
    if (!json->has_ids && (json->meta->cohort_id[0] == '\0' || json->meta->size != 0))
        return wrong(json, "the body has no memberIds");
    return OA_COHORT_MORE;
}
