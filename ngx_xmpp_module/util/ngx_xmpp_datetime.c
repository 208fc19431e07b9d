
/*
 * XMPP date and time profiles (XEP-0082, 3.2): written in UTC, in seconds or
 * microseconds; read with any offset and any fraction.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_util.h"


static u_char *ngx_xmpp_datetime_digits(u_char *p, ngx_uint_t n,
    ngx_uint_t width);
static u_char *ngx_xmpp_datetime_number(u_char *p, u_char *last, size_t len,
    ngx_int_t *n);
static u_char *ngx_xmpp_datetime_fraction(u_char *p, u_char *last,
    uint64_t *usec);
static u_char *ngx_xmpp_datetime_zone(u_char *p, u_char *last,
    ngx_int_t *minutes);
static int64_t ngx_xmpp_datetime_days(ngx_int_t year, ngx_int_t month,
    ngx_int_t day);


/*
 * Writes the 20 octets "CCYY-MM-DDThh:mm:ssZ" to p and returns the end.  The
 * profile ends with the year 9999: of a later one the last four digits are
 * written, of a time that has no calendar date the epoch.
 */
u_char *
ngx_xmpp_datetime(u_char *p, time_t sec)
{
    struct tm  tm;

    if (sec < 0 || gmtime_r(&sec, &tm) == NULL) {
        sec = 0;
        (void) gmtime_r(&sec, &tm);
    }

    p = ngx_xmpp_datetime_digits(p, tm.tm_year + 1900, 4);
    *p++ = '-';
    p = ngx_xmpp_datetime_digits(p, tm.tm_mon + 1, 2);
    *p++ = '-';
    p = ngx_xmpp_datetime_digits(p, tm.tm_mday, 2);
    *p++ = 'T';
    p = ngx_xmpp_datetime_digits(p, tm.tm_hour, 2);
    *p++ = ':';
    p = ngx_xmpp_datetime_digits(p, tm.tm_min, 2);
    *p++ = ':';
    p = ngx_xmpp_datetime_digits(p, tm.tm_sec, 2);
    *p++ = 'Z';

    return p;
}


static u_char *
ngx_xmpp_datetime_digits(u_char *p, ngx_uint_t n, ngx_uint_t width)
{
    ngx_uint_t  i;

    for (i = width; i; i--) {
        p[i - 1] = (u_char) ('0' + n % 10);
        n /= 10;
    }

    return p + width;
}


/* the same with microseconds of 1970: 27 octets, six digits of a fraction */

u_char *
ngx_xmpp_datetime_usec(u_char *p, uint64_t usec)
{
    p = ngx_xmpp_datetime(p, (time_t) (usec / 1000000)) - 1;

    *p++ = '.';
    p = ngx_xmpp_datetime_digits(p, usec % 1000000, 6);
    *p++ = 'Z';

    return p;
}


/*
 * Reads a date and time into microseconds of 1970, which are 0 for what is
 * before that; digits beyond them are cut.  NGX_OK or NGX_DECLINED.
 */
ngx_int_t
ngx_xmpp_datetime_parse(ngx_str_t *text, uint64_t *usec)
{
    u_char      *p, *last;
    int64_t      sec;
    ngx_int_t    v[6], zone;
    ngx_uint_t   i;

    static const char  separators[] = "--T::";

    p = text->data;
    last = p + text->len;

    for (i = 0; i < 6; i++) {
        p = ngx_xmpp_datetime_number(p, last, i ? 2 : 4, &v[i]);

        if (p == NULL
            || (i < 5 && (p == last || *p++ != (u_char) separators[i])))
        {
            return NGX_DECLINED;
        }
    }

    if (v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > 31 || v[3] > 23
        || v[4] > 59 || v[5] > 60)
    {
        return NGX_DECLINED;
    }

    zone = 0;
    p = ngx_xmpp_datetime_fraction(p, last, usec);

    if (p) {
        p = ngx_xmpp_datetime_zone(p, last, &zone);
    }

    if (p != last || p == NULL) {
        return NGX_DECLINED;
    }

    sec = ngx_xmpp_datetime_days(v[0], v[1], v[2]) * 86400
          + v[3] * 3600 + v[4] * 60 + v[5] - zone * 60;

    if (sec < 0) {
        *usec = 0;
        return NGX_OK;
    }

    *usec += (uint64_t) sec * 1000000;

    return NGX_OK;
}


/* len digits, and the end of them; NULL: they are not there */

static u_char *
ngx_xmpp_datetime_number(u_char *p, u_char *last, size_t len, ngx_int_t *n)
{
    if ((size_t) (last - p) < len) {
        return NULL;
    }

    for (*n = 0; len; len--, p++) {
        if (*p < '0' || *p > '9') {
            return NULL;
        }

        *n = *n * 10 + (*p - '0');
    }

    return p;
}


/* "." and digits, or nothing */

static u_char *
ngx_xmpp_datetime_fraction(u_char *p, u_char *last, uint64_t *usec)
{
    uint64_t  unit;

    *usec = 0;

    if (p == last || *p != '.') {
        return p;
    }

    p++;

    if (p == last || *p < '0' || *p > '9') {
        return NULL;
    }

    for (unit = 100000; p < last && *p >= '0' && *p <= '9'; p++) {
        *usec += (*p - '0') * unit;
        unit /= 10;
    }

    return p;
}


/* "Z" or "+hh:mm" */

static u_char *
ngx_xmpp_datetime_zone(u_char *p, u_char *last, ngx_int_t *minutes)
{
    u_char     sign;
    ngx_int_t  hour, minute;

    *minutes = 0;

    if (p == last) {
        return NULL;
    }

    sign = *p++;

    if (sign == 'Z') {
        return p;
    }

    if ((sign != '+' && sign != '-') || last - p != 5 || p[2] != ':'
        || ngx_xmpp_datetime_number(p, last, 2, &hour) == NULL
        || ngx_xmpp_datetime_number(p + 3, last, 2, &minute) == NULL
        || hour > 23 || minute > 59)
    {
        return NULL;
    }

    *minutes = hour * 60 + minute;

    if (sign == '-') {
        *minutes = -*minutes;
    }

    return last;
}


/* days of a date of the Gregorian calendar since 1970 */

static int64_t
ngx_xmpp_datetime_days(ngx_int_t year, ngx_int_t month, ngx_int_t day)
{
    /* years that begin in March: a leap day is the last one */

    if (month < 3) {
        month += 12;
        year--;
    }

    return (int64_t) 365 * year + year / 4 - year / 100 + year / 400
           + (153 * (month - 3) + 2) / 5 + day - 719469;
}
