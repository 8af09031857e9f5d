//! Authentication: what the server asks for before it accepts the role.

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as ScramBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use fallible_iterator::FallibleIterator as _;

use crate::error::ReplicationError;
use crate::options::ConnectOptions;
use crate::password::Password;
use crate::server_error::ServerError;
use crate::tls_mode::ChannelBinding;
use crate::wire::Wire;

/// Answers the server's requests until it accepts the role.
pub(super) async fn authenticate(wire: &mut Wire, options: &ConnectOptions) -> Result<(), ReplicationError> {
    // Only SASL can bind the exchange to the TLS connection.
    let mut is_bound = false;
    loop {
        match wire.message().await? {
            Message::AuthenticationOk if options.channel_binding == ChannelBinding::Require && !is_bound => {
                return Err(refused(
                    "channel_binding=require, but the server did not ask for a bound password exchange; \
                     have pg_hba.conf ask for scram-sha-256",
                ));
            }
            Message::AuthenticationOk => return Ok(()),
            Message::AuthenticationCleartextPassword => {
                if !wire.is_private() && !options.cleartext_password {
                    return Err(refused(
                        "the server asks for the password in clear text over an unencrypted connection, \
                         so it was not sent; use TLS, or allow_cleartext_password",
                    ));
                }
                answer(wire, password(options)?.as_bytes()).await?;
            }
            Message::AuthenticationMd5Password(asked) => {
                let hash = md5_hash(options.user.as_bytes(), password(options)?.as_bytes(), asked.salt());
                answer(wire, hash.as_bytes()).await?;
            }
            Message::AuthenticationSasl(asked) => is_bound = scram(wire, options, &asked).await?,
            Message::ErrorResponse(body) => return Err(ServerError::read(body.fields()).into()),
            Message::AuthenticationGss
            | Message::AuthenticationKerberosV5
            | Message::AuthenticationSspi
            | Message::AuthenticationScmCredential => {
                return Err(refused(
                    "the server asks for GSSAPI, Kerberos or SSPI, which this client does not support; \
                     have pg_hba.conf ask for scram-sha-256",
                ));
            }
            _ => {
                return Err(ReplicationError::protocol(
                    "it did not answer the start-up message with a request for authentication; is this PostgreSQL?",
                ));
            }
        }
    }
}

/// SCRAM-SHA-256 (RFC 5802, RFC 7677), bound to the TLS connection where both sides can.
/// Returns whether it was bound.
async fn scram(
    wire: &mut Wire,
    options: &ConnectOptions,
    asked: &AuthenticationSaslBody,
) -> Result<bool, ReplicationError> {
    let (mut is_offered, mut is_plus_offered) = (false, false);
    let mut mechanisms = asked.mechanisms();
    while let Ok(Some(mechanism)) = mechanisms.next() {
        is_offered |= mechanism == SCRAM_SHA_256;
        is_plus_offered |= mechanism == SCRAM_SHA_256_PLUS;
    }
    let hash = match options.channel_binding {
        ChannelBinding::Disable => None,
        ChannelBinding::Prefer | ChannelBinding::Require => wire.certificate_hash(),
    };
    // "Unrequested" tells the server that this client could bind. A server that had offered it then notices that somebody in
    // between has removed the offer.
    let (mechanism, binding, is_bound) = match hash {
        Some(hash) if is_plus_offered => (SCRAM_SHA_256_PLUS, ScramBinding::tls_server_end_point(hash), true),
        Some(_) if is_offered => (SCRAM_SHA_256, ScramBinding::unrequested(), false),
        None if is_offered => (SCRAM_SHA_256, ScramBinding::unsupported(), false),
        _ => {
            return Err(refused(
                "the server offers no SASL mechanism that this client supports (SCRAM-SHA-256, SCRAM-SHA-256-PLUS)",
            ));
        }
    };
    if options.channel_binding == ChannelBinding::Require && !is_bound {
        return Err(refused(
            "channel_binding=require, but this connection can't be bound; \
             use TLS and a server that offers SCRAM-SHA-256-PLUS",
        ));
    }

    let mut exchange = ScramSha256::new(password(options)?.as_bytes(), binding);
    wire.send(|out| frontend::sasl_initial_response(mechanism, exchange.message(), out)).await?;
    match wire.message().await? {
        Message::AuthenticationSaslContinue(body) => {
            exchange.update(body.data()).map_err(|error| unproven("the password exchange failed", error))?;
        }
        Message::ErrorResponse(body) => return Err(ServerError::read(body.fields()).into()),
        _ => return Err(ReplicationError::protocol("the server broke off the password exchange")),
    }
    wire.send(|out| frontend::sasl_response(exchange.message(), out)).await?;
    match wire.message().await? {
        Message::AuthenticationSaslFinal(body) => {
            let proof = exchange.finish(body.data());
            proof.map_err(|error| {
                unproven(
                    "the server did not prove that it knows the password; check that the host is the right one",
                    error,
                )
            })?;
        }
        Message::ErrorResponse(body) => return Err(ServerError::read(body.fields()).into()),
        _ => return Err(ReplicationError::protocol("the server broke off the password exchange")),
    }
    Ok(is_bound)
}

async fn answer(wire: &mut Wire, password: &[u8]) -> Result<(), ReplicationError> {
    wire.send(|out: &mut BytesMut| frontend::password_message(password, out)).await
}

fn password(options: &ConnectOptions) -> Result<&Password, ReplicationError> {
    let missing = || {
        refused("the server asks for a password, and none was given; set it in the URL, PGPASSWORD or a password file")
    };
    options.password.as_ref().ok_or_else(missing)
}

fn refused(what: &'static str) -> ReplicationError {
    ReplicationError::Authentication { what: what.into(), source: None }
}

fn unproven(what: &'static str, error: std::io::Error) -> ReplicationError {
    ReplicationError::Authentication { what: what.into(), source: Some(error.into()) }
}
