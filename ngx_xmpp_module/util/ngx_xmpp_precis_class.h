
/*
 * PRECIS string classes (RFC 8264, 8), inside of util/ only: text is UTF-16,
 * as ICU has it, well-formed and of len units.
 */


#ifndef _NGX_XMPP_PRECIS_CLASS_H_INCLUDED_
#define _NGX_XMPP_PRECIS_CLASS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <unicode/utypes.h>


/* derived properties; each class is what lies above a property */
typedef enum {
    ngx_xmpp_precis_disallowed = 0,
    ngx_xmpp_precis_unassigned,
    ngx_xmpp_precis_contextj,
    ngx_xmpp_precis_contexto,
    ngx_xmpp_precis_free,                /* FREE_PVAL, that is ID_DIS */
    ngx_xmpp_precis_valid
} ngx_xmpp_precis_property_e;


/*
 * Are all code points of property least or above, or right in their context
 * (RFC 8264, 9.6, 9.8).  NGX_OK; NGX_DECLINED: no, or the text is empty.
 */
ngx_int_t ngx_xmpp_precis_check_class(UChar *p, int32_t len,
    ngx_xmpp_precis_property_e least);

/*
 * For the U-labels that UTS 46 let pass: refuses the symbols among them that
 * IDNA2008 does not know.  Contextual rules hold for each label alone and are
 * not looked at here.  NGX_OK or NGX_DECLINED.
 */
ngx_int_t ngx_xmpp_precis_check_labels(UChar *p, int32_t len);

/* the Bidi Rule as RFC 8265, 3.3.1 applies it; NGX_OK or NGX_DECLINED */
ngx_int_t ngx_xmpp_precis_check_bidi(UChar *p, int32_t len);


#endif /* _NGX_XMPP_PRECIS_CLASS_H_INCLUDED_ */
