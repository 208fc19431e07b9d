
/*
 * XMPP date and time profiles (XEP-0082, 3.2), written only: UTC, seconds.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_util.h"


static u_char *ngx_xmpp_datetime_digits(u_char *p, ngx_uint_t n,
    ngx_uint_t width);


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
