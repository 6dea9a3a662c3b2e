//! Its credential service: every call is one question with one reply.

use tonic::{Request, Response, Status};
use usher_proto::v1::{
    EraseCredentialRequest, EraseCredentialResponse, GetCredentialRequest, GetCredentialResponse,
    ListCredentialsRequest, ListCredentialsResponse, StoreCredentialRequest, StoreCredentialResponse,
    credential_service_server::CredentialService,
};

use super::Daemon;

/// What it is asked.
pub(crate) enum Asked {
    Get(GetCredentialRequest),
    Store(StoreCredentialRequest),
    Erase(EraseCredentialRequest),
    List(ListCredentialsRequest),
}

/// What it replies.
pub(crate) enum Reply {
    Got(GetCredentialResponse),
    Stored(StoreCredentialResponse),
    Erased(EraseCredentialResponse),
    Listed(ListCredentialsResponse),
}

impl Daemon {
    fn reply<M>(&self, asked: Asked, take: impl FnOnce(Reply) -> Option<M>) -> Result<Response<M>, Status> {
        let reply = take((self.credentials)(asked)?).expect("a reply to another question");
        Ok(self.respond(reply))
    }
}

#[tonic::async_trait]
impl CredentialService for Daemon {
    async fn get(
        &self,
        request: Request<GetCredentialRequest>,
    ) -> Result<Response<GetCredentialResponse>, Status> {
        let asked = Asked::Get(request.into_inner());
        self.reply(asked, |reply| if let Reply::Got(reply) = reply { Some(reply) } else { None })
    }

    async fn store(
        &self,
        request: Request<StoreCredentialRequest>,
    ) -> Result<Response<StoreCredentialResponse>, Status> {
        let asked = Asked::Store(request.into_inner());
        self.reply(asked, |reply| if let Reply::Stored(reply) = reply { Some(reply) } else { None })
    }

    async fn erase(
        &self,
        request: Request<EraseCredentialRequest>,
    ) -> Result<Response<EraseCredentialResponse>, Status> {
        let asked = Asked::Erase(request.into_inner());
        self.reply(asked, |reply| if let Reply::Erased(reply) = reply { Some(reply) } else { None })
    }

    async fn list(
        &self,
        request: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let asked = Asked::List(request.into_inner());
        self.reply(asked, |reply| if let Reply::Listed(reply) = reply { Some(reply) } else { None })
    }
}
