
# sourced by nginx's auto/make: how redis/*.lua becomes a C source.  The files
# make one library, in the order of their names; the first one opens it.

mkdir -p $NGX_OBJS/ngx_xmpp

cat << END                                                    >> $NGX_MAKEFILE

$NGX_OBJS/ngx_xmpp/ngx_xmpp_functions.c: \\
	$ngx_addon_dir/embed.sh `echo $ngx_addon_dir/*.lua`
	sh $ngx_addon_dir/embed.sh ngx_xmpp_functions_lua \\
	    $ngx_addon_dir/*.lua > \$@.new
	mv \$@.new \$@

END
