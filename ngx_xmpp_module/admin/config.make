
# sourced by nginx's auto/make: how status.html becomes a C source

mkdir -p $NGX_OBJS/ngx_xmpp

cat << END                                                    >> $NGX_MAKEFILE

$NGX_OBJS/ngx_xmpp/ngx_xmpp_status_page.c: \\
	$ngx_addon_dir/status.html $ngx_addon_dir/../../redis/embed.sh
	sh $ngx_addon_dir/../../redis/embed.sh ngx_xmpp_status_page \\
	    $ngx_addon_dir/status.html > \$@.new
	mv \$@.new \$@

END
